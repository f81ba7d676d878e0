package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/openseastack/netboot-imager/internal/announce"
)

// TestCommands runs the commands of docs/netbootd.md against a netbootd.
func TestCommands(t *testing.T) {
	s := startServer(t)
	req, err := http.NewRequest("POST", s.base+announce.Path, strings.NewReader(
		`{"serial":"100000001234abcd","model":"Raspberry Pi 4","port":8888,"status":{"stage":"idle"},`+
			`"receipts":[{"job":"1","image_url":"http://x/raspios","device":"/dev/mmcblk0","image_sha256":"abcdef","version":"1.0"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Netboot-Token", s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	sum := strings.Repeat("ab", 32)
	for _, tt := range []struct{ command, want, fails string }{
		{command: "enrol 1234abcd 00000001", want: "Station 1234abcd netboots from now on\nStation 00000001 netboots from now on\n"},
		{command: "stations", want: "1234abcd  idle      true      127.0.0.1  Raspberry Pi 4"},
		{command: "stations --json", want: `"serial":"100000001234abcd"`},
		{command: "receipts --station 1234abcd", want: "http://x/raspios"},
		{command: "receipts --image nothing", want: "SHA256"},
		{command: "assign 1234abcd --image-url http://x/raspios", fails: "give sha256"},
		{command: "assign 1234abcd --image-url http://x/raspios --then reboot --sha256 " + sum, want: "Station 1234abcd writes http://x/raspios when it announces itself next"},
		{command: "stations --json", want: `"sha256":"` + sum + `","then":"reboot"`},
		{command: "unassign 1234abcd", want: "assigned nothing any more"},
		{command: "de-enrol 1234abcd", want: "goes on to its next boot device"},
		{command: "retire 9999", fails: "no station"},
		{command: "rollback", fails: "no earlier netboot tree"},
		{command: "dnsmasq-config --interface lo", want: "\ndhcp-ignore=tag:!pi\ndhcp-range=127.0.0.0,proxy,255.0.0.0\n"},
	} {
		args := append(strings.Fields(tt.command), "--dir", s.dir)
		if args[0] != "dnsmasq-config" {
			args = append(args, "--server", s.base)
		}
		var out bytes.Buffer
		cmd := command(&out, &out)
		cmd.SetArgs(args)
		err := cmd.ExecuteContext(t.Context())
		switch {
		case tt.fails != "":
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("netbootd %s: %v, want %q", tt.command, err, tt.fails)
			}
		case err != nil || !strings.Contains(out.String(), tt.want):
			t.Errorf("netbootd %s: %v\n%s\nwant %q", tt.command, err, out.String(), tt.want)
		case strings.Contains(out.String(), s.token):
			t.Errorf("netbootd %s shows the token", tt.command)
		}
	}
}
