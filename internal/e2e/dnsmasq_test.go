package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/lab"
)

// documented runs dnsmasq with the configurations that docs/netboot.md shows, in the order
// in which it shows them: beside a router's DHCP server, and as the only one. Boot loaders
// of each kind learn their address and their server, and fetch the tree.
func documented(t *testing.T, tree string) {
	page := string(readFile(t, "../../docs/netboot.md"))
	configs := regexp.MustCompile(`(?m)^    port=0\n(?:    .*\n)+`).FindAllString(page, -1)
	if len(configs) != 2 {
		t.Fatalf("docs/netboot.md shows %d configurations of dnsmasq, want 2", len(configs))
	}
	for i, name := range []string{"proxy", "full"} {
		t.Run(name, func(t *testing.T) {
			config := strings.ReplaceAll(configs[i], "    ", "")
			for _, r := range [][2]string{{"192.168.1.", "10.77.0."}, {"192.168.50.", "10.77.0."}, {"/srv/netboot", tree}} {
				config = strings.ReplaceAll(config, r[0], r[1])
			}
			if !strings.Contains(config, "interface="+lab.SiteInterface+"\n") || strings.Contains(config, ",proxy") != (name == "proxy") {
				t.Fatalf("not what this test is made for:\n%s", config)
			}
			dir := t.TempDir()
			site, err := lab.NewSite(t.Context(), dir, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := site.Close(); err != nil {
					t.Error(err)
				}
			}()
			router := lab.SiteRouter
			if name == "full" {
				site.RouterOff()
				router = lab.SiteServer
			}
			path := filepath.Join(dir, "dnsmasq.conf")
			if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			log, err := os.Create(filepath.Join(dir, "dnsmasq.log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			cmd := exec.Command("dnsmasq", "--no-daemon", "--conf-file="+path, "--log-facility=-", "--pid-file=", "--dhcp-leasefile="+filepath.Join(dir, "dnsmasq.leases"))
			cmd.Stderr = log
			if _, err := site.Server.Start(cmd); err != nil {
				t.Fatal(err)
			}
			for _, pi := range []string{"3b", "4b", "5"} {
				m := model(t, pi)
				o, err := m.Discover(t.Context(), "br0", site.Switch.Do, patience)
				if err != nil {
					t.Fatalf("Pi %s: %v\n%s", pi, err, readFile(t, log.Name()))
				}
				if o.TFTP.String() != lab.SiteServer || !strings.Contains(fmt.Sprint(o.Servers), router) {
					t.Errorf("Pi %s: %+v, want an address from %s and %s as the server", pi, o, router, lab.SiteServer)
				}
				boot, err := m.Netboot(t.Context(), lab.SiteServer+":69", site.Switch.Do, nil)
				if err != nil || len(boot.Kernel) == 0 || len(boot.Initramfs) == 0 {
					t.Errorf("Pi %s: %v", pi, err)
				}
			}
		})
	}
}
