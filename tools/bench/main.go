// Command bench measures the imager against its peers and writes docs/performance.md.
// See that page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/openseastack/netboot-imager/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	opt := bench.Options{Out: stderr}
	fs.StringVar(&opt.Dir, "dir", "build/bench", "`DIR` for images and results; what is there is used again")
	fs.StringVar(&opt.Data, "data", "/usr", "`DIR` whose files fill the image")
	fs.IntVar(&opt.Rounds, "rounds", 3, "how often each contender has its turn")
	fs.BoolVar(&opt.Quick, "quick", false, "an image of 512 MiB in place of 2 GiB")
	fs.BoolVar(&opt.NoPeers, "no-peers", false, "measure the imager and the limits alone")
	fs.StringVar(&opt.Imager, "imager", "", "`FILE` of the imager to measure (default: built from the source here)")
	formats := fs.String("formats", "", "`LIST` of "+strings.Join(bench.Formats, ",")+" (default: all)")
	groups := fs.String("groups", "", "`LIST` of "+strings.Join(bench.Groups, ",")+" (default: all)")
	prepare := fs.Bool("prepare", false, "make the images and stop")
	add := fs.Bool("add", false, "keep what the last results have of other groups and formats")
	report := fs.Bool("report", false, "measure nothing; make the page of the last results again")
	docs := fs.String("docs", "", "`DIR` with performance.md, to put the tables and the plot there (default: print the tables)")
	part := fs.String("part", "", "`FILE` for the result of a part alone; used by bench itself")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *part != "" {
		return bench.Part(ctx, *part, fs.Args())
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	var err error
	if opt.Formats, err = list("-formats", *formats, bench.Formats); err != nil {
		return err
	}
	if opt.Groups, err = list("-groups", *groups, bench.Groups); err != nil {
		return err
	}
	if opt.Rounds < 1 {
		return fmt.Errorf("-rounds is %d; one at least", opt.Rounds)
	}
	results := filepath.Join(opt.Dir, "results.json")
	var res *bench.Results
	switch {
	case *prepare:
		return bench.Prepare(ctx, opt)
	case *report:
		if res, err = bench.Load(results); err != nil {
			return err
		}
	default:
		if os.Getuid() != 0 {
			return errors.New("loop devices, network namespaces and throttling need root")
		}
		if opt.Imager == "" {
			opt.Imager = filepath.Join(opt.Dir, "imager")
			build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", opt.Imager, "./imager")
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				return fmt.Errorf("building the imager: %w: %s", err, out)
			}
		}
		var last *bench.Results
		if *add {
			if last, err = bench.Load(results); err != nil {
				return err
			}
		}
		res, err = bench.Run(ctx, opt)
		if err != nil {
			return errors.Join(err, keep(res, opt.Dir))
		}
		if last != nil {
			if err := last.Add(res); err != nil {
				return err
			}
			res = last
		}
		if err := res.Save(results); err != nil {
			return err
		}
	}
	if *docs == "" {
		_, err := io.WriteString(stderr, res.Markdown())
		return err
	}
	return res.WriteDocs(*docs)
}

// keep stores the results of a run that failed, if it has any, for -add to go on with.
func keep(res *bench.Results, dir string) error {
	if res == nil || len(res.Cases) == 0 {
		return nil
	}
	path := filepath.Join(dir, unfinished)
	if err := res.Save(path); err != nil {
		return err
	}
	return fmt.Errorf("what was measured before is in %s; rename it to results.json and measure the rest with -add", path)
}

// unfinished is the file for the results of a run that failed.
const unfinished = "unfinished.json"

// list parses a comma-separated flag; each word has to be one of known.
func list(flag, value string, known []string) ([]string, error) {
	if value == "" {
		return nil, nil
	}
	words := strings.Split(value, ",")
	for _, w := range words {
		ok := false
		for _, k := range known {
			ok = ok || k == w
		}
		if !ok {
			return nil, fmt.Errorf("%s: unknown %q; there are %s", flag, w, strings.Join(known, ", "))
		}
	}
	return words, nil
}
