package faults

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/lab"
)

// place is where a row's programs run: a network.
type place struct {
	host   string                          // the address of everything there
	listen func(t testing.TB) net.Listener // for the image server; returns nil for the usual one
	do     func(f func() error) error      // starts a program there
	prefix []string                        // put in front of the imager's command line
	keys   map[string]any                  // put into the imager's config
	client *http.Client
}

// loopback is this machine's own.
var loopback = &place{
	host:   "127.0.0.1",
	listen: func(testing.TB) net.Listener { return nil },
	do:     func(f func() error) error { return f() },
	client: client,
}

// namespace is a network namespace of its own, where nothing but the row's programs is.
func namespace(t testing.TB) (*place, *lab.Namespace) {
	t.Helper()
	flashtest.NeedRoot(t)
	dir, err := os.MkdirTemp(scratch, "lab") // its name goes to dnsmasq, which splits at commas
	if err != nil {
		t.Fatal(err)
	}
	n, err := lab.NewNamespace(t.Context(), dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return &place{
		host: n.Server(), do: n.Do, client: lab.Client(n), listen: listenIn(n),
	}, n
}

// listenIn listens on any port of a namespace.
func listenIn(n *lab.Namespace) func(t testing.TB) net.Listener {
	return func(t testing.TB) net.Listener {
		t.Helper()
		ln, err := n.Listen(0)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
}

// lossy is a namespace in which a share of all packets is lost, by the kernel's own
// packet filter.
func lossy(percent int) func(t testing.TB) *place {
	return func(t testing.TB) *place {
		p, n := namespace(t)
		rules := fmt.Sprintf(`
			table inet faults {
				chain out {
					type filter hook output priority 0;
					meta l4proto tcp numgen random mod 100 < %d drop
				}
			}`, percent)
		file := filepath.Join(t.TempDir(), "rules.nft")
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(flashtest.Need(t, "nft"), "-f", file)
		err := n.Do(func() error {
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("nft: %w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// wired is a namespace at a wire that carries that many bits per second from the image server.
func wired(bits int64) func(t testing.TB) *place {
	return func(t testing.TB) *place {
		t.Helper()
		flashtest.NeedRoot(t)
		w, err := lab.NewWire(t.Context(), bits)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		return &place{
			host: "127.0.0.1", do: w.Client.Do, client: lab.Client(w.Client),
			keys:   map[string]any{"allowed_ips": []string{"127.0.0.1", w.Server.Server()}},
			listen: listenIn(w.Server),
		}
	}
}

// named is a namespace with name servers: good.test is the namespace's own address,
// evil.test and rebinding.test another one, where an image is served, too.
func named(t testing.TB) *place {
	p, n := namespace(t)
	err := n.Do(func() error {
		out, err := exec.Command("ip", "address", "add", evilIP+"/32", "dev", "lo").CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	dns := exec.Command(flashtest.Need(t, "dnsmasq"), "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts",
		"--listen-address="+p.host, "--bind-interfaces", "--address=/good.test/"+p.host, "--address=/evil.test/"+evilIP, "--local=/#/")
	if _, err := n.Start(dns); err != nil {
		t.Fatal(err)
	}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+p.host+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.prefix = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv}
	listen := p.listen
	p.listen = func(t testing.TB) net.Listener {
		ln := listen(t)
		// The same at the other address and port.
		err := n.Do(func() error {
			_, port, err := net.SplitHostPort(ln.Addr().String())
			if err != nil {
				return err
			}
			evil, err := net.Listen("tcp", net.JoinHostPort(evilIP, port))
			if err != nil {
				return err
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				t.Errorf("somebody connected to %s", evilIP)
				w.Write(sampleImage())
			})}
			go srv.Serve(evil)
			t.Cleanup(func() { srv.Close() })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	return p
}

const evilIP = "10.66.0.1"
