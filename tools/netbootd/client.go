package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/openseastack/netboot-imager/internal/bootserver"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
)

// remote is a netbootd that runs.
type remote struct {
	dir    string
	server string
	json   bool
}

func (r *remote) register(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&r.dir, "dir", defaultDir, "`DIRECTORY` of the netbootd that runs, for its token")
	cmd.Flags().StringVar(&r.server, "server", fmt.Sprintf("http://127.0.0.1:%d", bootserver.Port), "`URL` of the netbootd that runs")
	cmd.Flags().BoolVar(&r.json, "json", false, "print JSON")
	return cmd
}

// token is the one in the environment, or that of the directory.
func (r *remote) token() (string, error) {
	if t := os.Getenv("NETBOOT_TOKEN"); t != "" {
		return t, nil
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "token"))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w; name netbootd's directory by --dir, or set NETBOOT_TOKEN", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// call asks, with body in JSON unless it is nil, and decodes the answer into out.
func (r *remote) call(ctx context.Context, method, path string, body, out any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.server, "/")+path, in)
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet {
		token, err := r.token()
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-Netboot-Token", token)
	}
	resp, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking netbootd: %w; is it running? --server names another", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("asking netbootd: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var failure struct{ Error string }
		if json.Unmarshal(b, &failure) == nil && failure.Error != "" {
			return nil, errors.New(failure.Error)
		}
		return nil, fmt.Errorf("netbootd answered %s: %s", resp.Status, bytes.TrimSpace(b))
	}
	return b, json.Unmarshal(b, out)
}

// act does something and prints what netbootd says.
func (r *remote) act(cmd *cobra.Command, method, path string, body any) error {
	var answer struct{ Message string }
	b, err := r.call(cmd.Context(), method, path, body, &answer)
	if err != nil {
		return err
	}
	if r.json {
		_, err = cmd.OutOrStdout().Write(b)
	} else {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), answer.Message)
	}
	return err
}

func stationPath(id, action string) string {
	return "/api/stations/" + url.PathEscape(id) + action
}

func enrolCommand() *cobra.Command {
	var r remote
	return r.register(&cobra.Command{
		Use: "enrol SERIAL...", Short: "have Raspberry Pis netboot, by serial number", Args: cobra.MinimumNArgs(1),
		Example: "  netbootd enrol 1234abcd",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := r.act(cmd, http.MethodPost, stationPath(id, "/enrol"), nil); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func retireCommand() *cobra.Command {
	var r remote
	return r.register(&cobra.Command{
		Use: "retire SERIAL...", Aliases: []string{"de-enrol"}, Short: "have Raspberry Pis go on to their next boot device", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := r.act(cmd, http.MethodPost, stationPath(id, "/retire"), nil); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func rollbackCommand() *cobra.Command {
	var r remote
	return r.register(&cobra.Command{
		Use: "rollback", Short: "serve the system that was served before", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.act(cmd, http.MethodPost, "/api/trees/rollback", nil)
		},
	})
}

func stationsCommand() *cobra.Command {
	var r remote
	return r.register(&cobra.Command{
		Use: "stations", Short: "list the Raspberry Pis", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var answer struct {
				Stations []bootserver.View
				Tree     *trees.Tree
			}
			b, err := r.call(cmd.Context(), http.MethodGet, "/api/stations", nil, &answer)
			if err != nil {
				return err
			}
			if r.json {
				_, err = cmd.OutOrStdout().Write(b)
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "STATION\tSTATE\tENROLLED\tADDRESS\tMODEL\tSYSTEM BUILT\tNOTE")
			for _, s := range answer.Stations {
				addr := ""
				if s.Address.IsValid() {
					addr = s.Address.String()
				}
				fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\t%s\t%s\n", s.ID, s.State, s.Enrolled, addr, s.Model, s.Build, s.Note)
			}
			if answer.Tree != nil {
				fmt.Fprintf(w, "\nserved: %s, built %s, Linux %s\n", answer.Tree.ID, answer.Tree.Build, answer.Tree.Linux)
			}
			return w.Flush()
		},
	})
}

func receiptsCommand() *cobra.Command {
	var r remote
	q := url.Values{}
	var station, image, since string
	var limit int
	cmd := r.register(&cobra.Command{
		Use: "receipts", Short: "list what was written on which Raspberry Pi", Args: cobra.NoArgs,
		Example: "  netbootd receipts --station 1234abcd\n  netbootd receipts --image raspios --since 2026-01-01T00:00:00Z",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for key, value := range map[string]string{"station": station, "image": image, "since": since, "limit": fmt.Sprint(limit)} {
				if value != "" {
					q.Set(key, value)
				}
			}
			var answer struct{ Receipts []stations.Receipt }
			b, err := r.call(cmd.Context(), http.MethodGet, "/api/receipts?"+q.Encode(), nil, &answer)
			if err != nil {
				return err
			}
			if r.json {
				_, err = cmd.OutOrStdout().Write(b)
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "FINISHED\tSTATION\tDEVICE\tREAD BACK\tIMAGER\tSHA256\tIMAGE")
			for _, x := range answer.Receipts {
				fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%.12s\t%s\n", x.Finished.UTC().Format(time.RFC3339), x.Station, x.Device, x.Verified, x.Version, x.ImageSHA256, x.Image)
			}
			return w.Flush()
		},
	})
	cmd.Flags().StringVar(&station, "station", "", "`SERIAL` number of one station")
	cmd.Flags().StringVar(&image, "image", "", "`TEXT` in the image's URL, or how its sha256 begins")
	cmd.Flags().StringVar(&since, "since", "", "`TIME` like 2026-01-02T15:04:05Z")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return cmd
}
