package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/flashtest"
)

// TestAbuse: requests that nobody should send.
func TestAbuse(t *testing.T) {
	matrix(t, abuse, abuseRows)
}

// both are prefixes of the client and of the image server in rows about addresses.
var both = map[string]any{"allowed_ips": []string{"127.0.0.1", "127.0.1.0/24"}}

var abuseRows = []row{
	{
		fault: "a wrong token", ask: asking(askOptions{token: "wrong"}),
		status: 403, says: "Invalid token", after: unchanged,
	}, {
		fault: "no token", ask: asking(askOptions{token: "-"}),
		status: 403, says: "Invalid token", after: unchanged,
	}, {
		fault: "the token with a space behind it, in another header, and in the URL", ask: func(t testing.TB, s *scene) (int, answer, error) {
			return s.im.post(s.text(), map[string]string{"Authorization": "Bearer " + token, "Token": token}, token+"x")
		},
		status: 403, says: "Invalid token", after: unchanged,
	}, {
		fault: "1,000 wrong tokens, then the right one", ask: thousandTokens,
		status: 429, says: "Too many wrong tokens", after: unchanged,
	}, {
		fault: "1,000 wrong tokens from one address; the right one from another", config: both, ask: func(t testing.TB, s *scene) (int, answer, error) {
			if code, a, err := thousandTokens(t, s); err != nil || code != 429 {
				return code, a, err
			}
			return s.im.postTo(s.im.base, from("127.0.1.7"), s.text(), nil, token)
		},
		status: 200, after: whole,
	}, {
		fault: "allowed is 127.0.1.0/24, the client is 127.0.100.5", config: both, ask: asking(askOptions{from: "127.0.100.5"}),
		status: 403, says: "Unauthorized IP: 127.0.100.5", after: unchanged,
	}, {
		fault: "allowed is 127.0.1.0/24, the client is 127.0.1.200", config: both, ask: asking(askOptions{from: "127.0.1.200"}),
		status: 200, after: whole,
	}, {
		fault: "allowed is 127.0.1.128/25, the client is 127.0.1.127", config: map[string]any{"allowed_ips": []string{"127.0.0.1", "127.0.1.128/25"}}, ask: asking(askOptions{from: "127.0.1.127"}),
		status: 403, says: "Unauthorized IP", after: unchanged,
	}, {
		fault: "forged X-Forwarded-For, Forwarded, X-Real-IP and Host", ask: asking(askOptions{from: "127.0.0.9", header: map[string]string{
			"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1", "X-Client-IP": "127.0.0.1", "Client-IP": "127.0.0.1",
		}}),
		status: 403, says: "Unauthorized IP: 127.0.0.9", after: unchanged,
	}, {
		fault: "an IPv4-mapped IPv6 client that is not allowed", ask: asking(askOptions{from: "127.0.0.9", to: "::ffff:127.0.0.1"}),
		status: 403, says: "Unauthorized IP: 127.0.0.9", after: unchanged,
	}, {
		fault: "a client by IPv6, of which nothing is allowed", ask: asking(askOptions{to: "::1"}),
		status: 403, says: "Unauthorized IP: ::1", after: unchanged,
	}, {
		fault: "a request by another site's page in a browser", ask: asking(askOptions{header: map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}}),
		status: 403, says: "another site", after: unchanged,
	}, {
		fault: "the image's host is another address", url: at("http://127.0.0.2:%s/image"),
		status: 403, says: "127.0.0.2", after: unchanged,
	}, {
		fault: "…as an IPv4-mapped IPv6 address", url: at("http://[::ffff:127.0.0.2]:%s/image"),
		status: 403, says: "127.0.0.2", after: unchanged,
	}, {
		fault: "…as a decimal number", url: at("http://2130706434:%s/image"),
		status: 502, after: unchanged,
	}, {
		fault: "…as a hexadecimal number", url: at("http://0x7f000002:%s/image"),
		status: 502, after: unchanged,
	}, {
		fault: "…behind a user name that looks like an allowed one", url: at("http://127.0.0.1@127.0.0.2:%s/image"),
		status: 403, says: "127.0.0.2", after: unchanged,
	}, {
		fault: "…as 0.0.0.0", url: at("http://0.0.0.0:%s/image"),
		status: 403, says: "0.0.0.0", after: unchanged,
	}, {
		fault: "…as localhost, which is ::1 first", url: at("http://localhost:%s/image"), config: map[string]any{"allowed_ips": []string{"127.0.0.9", "127.0.0.1/32"}},
		status: 200, after: whole,
	}, {
		fault: "a name that resolves to an address that is not allowed (localhost)", url: at("http://localhost:%s/image"),
		config: map[string]any{"allowed_ips": []string{"127.0.1.0/24"}}, ask: asking(askOptions{from: "127.0.1.5"}), from: "127.0.1.5",
		status: 403, says: "localhost", after: unchanged,
	}, {
		fault: "image_url is file:///dev/zero", url: at("file:///dev/zero?%s"),
		status: 400, says: "only http and https", after: unchanged,
	}, {
		fault: "a command in image_url", url: at("http://127.0.0.1:%s/$(touch /tmp/netboot-imager-was-here)`touch /tmp/netboot-imager-was-here`;touch /tmp/netboot-imager-was-here"),
		status: 200, after: whole, check: func(*outcome) error {
			if _, err := os.Stat("/tmp/netboot-imager-was-here"); err == nil {
				return fmt.Errorf("the command was run")
			}
			return nil
		},
	}, {
		fault: "a line break in image_url", url: at("http://127.0.0.1:%s/image\r\nX-Evil: yes"),
		status: 400, says: "not a URL", after: unchanged,
	}, {
		fault: "netboot_ip that is not allowed", request: map[string]any{"netboot_ip": "10.9.8.7"},
		status: 403, says: "10.9.8.7", after: unchanged,
	}, {
		fault: "device: the disk by /dev/../dev/…", ask: device(func(dev string) string { return "/dev/../dev/" + filepath.Base(dev) }),
		status: 400, says: "is not an allowed device", after: unchanged,
	}, {
		fault: "device: with a slash behind it", ask: device(func(dev string) string { return dev + "/" }),
		status: 400, says: "is not an allowed device", after: unchanged,
	}, {
		fault: "device: with a zero byte behind it", ask: device(func(dev string) string { return dev + "\x00" }),
		status: 400, says: "is not an allowed device", after: unchanged,
	}, {
		fault: "device: /etc/passwd", ask: device(func(string) string { return "/etc/passwd" }),
		status: 400, says: "is not an allowed device", after: unchanged,
	}, {
		fault: "device: a command", ask: device(func(dev string) string { return dev + "; reboot" }),
		status: 400, says: "is not an allowed device", after: unchanged,
	}, {
		fault: "a body of 65 KiB", ask: body(func(s *scene) string { return s.text() + strings.Repeat(" ", 65<<10) }),
		status: 413, says: "larger than 64 KiB", after: unchanged,
	}, {
		fault: "a body of 60 KiB of brackets", ask: body(func(s *scene) string { return strings.Repeat("[", 60<<10) }),
		status: 400, says: "JSON", after: unchanged,
	}, {
		fault: "no body", ask: body(func(s *scene) string { return "" }),
		status: 400, says: "empty", after: unchanged,
	}, {
		fault: "a body that ends early", ask: body(func(s *scene) string { return s.text()[:20] }),
		status: 400, says: "JSON", after: unchanged,
	}, {
		fault: "two objects", ask: body(func(s *scene) string { return s.text() + s.text() }),
		status: 400, says: "behind its JSON object", after: unchanged,
	}, {
		fault: "an unknown field", request: map[string]any{"devcie": "/dev/sda"},
		status: 400, says: "unknown field", after: unchanged,
	}, {
		fault: "a field of another type", request: map[string]any{"verify": "no"},
		status: 400, says: `"verify" must be a boolean`, after: unchanged,
	}, {
		fault: "an empty sha256", request: map[string]any{"sha256": ""},
		status: 400, says: "64 hex digits", after: unchanged,
	}, {
		fault: "a second write meanwhile, of the same disk", serve: func(t testing.TB, s *flashtest.Server) { s.Slow = 20 * time.Millisecond },
		ask:    second,
		status: 409, says: "already running", after: whole,
	}, {
		fault: "the client goes away in mid-write", serve: func(t testing.TB, s *flashtest.Server) { s.Slow = 5 * time.Millisecond },
		ask:    leave,
		status: 200, after: whole,
	}, {
		fault: "slow-header clients (50) that hold their connections, during a write", during: hold(50, "GET /status HTTP/1.1\r\nHost: x\r\nX-Slow: "),
		status: 200, after: whole,
	}, {
		fault: "slow-body clients (50) that hold their connections, during a write", during: hold(50, "POST /write-image HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: "+token+"\r\nContent-Length: 100\r\n\r\n{"),
		status: 200, after: whole,
	}, {
		fault: "clients (50) that ask for /events and never read, during a write", during: hold(50, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"),
		status: 200, after: whole,
	}, {
		fault: "garbage: an HTTP/2 preface, TLS, pipelined nonsense, a request smuggled behind another, during a write", during: garbage,
		status: 200, after: whole,
	},
}

// askOptions are what a request has that an honest one has not.
type askOptions struct {
	token  string // "-" for none
	from   string // the client's address
	to     string // the address by which it reaches the imager
	header map[string]string
}

func asking(o askOptions) func(testing.TB, *scene) (int, answer, error) {
	return func(t testing.TB, s *scene) (int, answer, error) {
		given, ok := map[string]string{"": token, "-": ""}[o.token]
		if !ok {
			given = o.token
		}
		to := s.im.base
		if o.to != "" {
			to = "http://" + net.JoinHostPort(o.to, to[strings.LastIndex(to, ":")+1:])
		}
		return s.im.postTo(to, from(o.from), s.text(), o.header, given)
	}
}

// text is the honest body.
func (s *scene) text() string {
	b, err := json.Marshal(s.body)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func body(f func(s *scene) string) func(testing.TB, *scene) (int, answer, error) {
	return func(t testing.TB, s *scene) (int, answer, error) { return s.im.post(f(s), nil, token) }
}

func device(f func(dev string) string) func(testing.TB, *scene) (int, answer, error) {
	return func(t testing.TB, s *scene) (int, answer, error) {
		s.body["device"] = f(s.disk.dev)
		return s.write()
	}
}

// at makes a URL with the image server's port.
func at(format string) func(testing.TB, *flashtest.Server) string {
	return func(_ testing.TB, s *flashtest.Server) string {
		_, port, _ := net.SplitHostPort(s.Addr())
		return fmt.Sprintf(format, port)
	}
}

// from is a client with an address of its own.
func from(address string) *http.Client {
	if address == "" {
		return client
	}
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: d.DialContext}}
}

// thousandTokens tries wrong tokens, and then the right one.
func thousandTokens(t testing.TB, s *scene) (int, answer, error) {
	counts := map[int]int{}
	for i := range 1000 {
		code, a, err := s.im.post(s.text(), nil, fmt.Sprint("guess ", i))
		if err != nil {
			return code, a, err
		}
		counts[code]++
	}
	if counts[403] != 10 || counts[429] != 990 {
		return 0, answer{}, fmt.Errorf("answers by status: %v, want 10 times 403 and 990 times 429", counts)
	}
	return s.write()
}

// second asks for another write while one runs, and returns that one's answer after the
// first one has succeeded.
func second(t testing.TB, s *scene) (int, answer, error) {
	first := make(chan error, 1)
	go func() {
		code, a, err := s.write()
		if err == nil && code != 200 {
			err = fmt.Errorf("the first write: %d %s", code, a.raw)
		}
		first <- err
	}()
	if err := s.im.await(writing); err != nil {
		return 0, answer{}, err
	}
	code, a, err := s.write()
	if e := <-first; e != nil {
		return 0, a, e
	}
	return code, a, err
}

// leave asks for a write, goes away, and finds its success by GET /status.
func leave(t testing.TB, s *scene) (int, answer, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.im.base, "http://"))
	if err != nil {
		return 0, answer{}, err
	}
	text := s.text()
	fmt.Fprintf(conn, "POST /write-image HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: %s\r\nContent-Length: %d\r\n\r\n%s", token, len(text), text)
	err = s.im.await(writing)
	conn.Close()
	if err != nil {
		return 0, answer{}, err
	}
	if err := s.im.await(func(st status) bool { return st.Stage == "complete" }); err != nil {
		return 0, answer{}, err
	}
	st, err := s.im.status()
	if err != nil {
		return 0, answer{}, err
	}
	a := answer{Success: true, Message: st.Message}
	a.Receipt.SHA256 = st.Receipt.SHA256
	return 200, a, nil
}

// hold opens n connections, sends each the beginning of something, and goes on only when
// the write is over.
func hold(n int, sent string) func(*imager) error {
	return func(im *imager) error {
		for range n {
			conn, err := net.Dial("tcp", strings.TrimPrefix(im.base, "http://"))
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				return err
			}
		}
		return im.await(func(s status) bool { return s.Stage == "complete" })
	}
}

// garbage sends what is no request. Each connection must be answered or closed.
func garbage(im *imager) error {
	host := strings.TrimPrefix(im.base, "http://")
	for _, sent := range []string{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500),
		"GET /status HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\nGET /status HTTP/1.1\r\n\r\n",
		"POST /write-image HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nDELETE /write-image HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: " + token + "\r\n\r\n",
		"GET /status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"GET " + strings.Repeat("/..", 1000) + "/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x00\x00\x00\x00\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, sent) // it may hang up before it has read everything
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if err != nil && err != io.EOF && !strings.Contains(err.Error(), "reset") {
			return fmt.Errorf("%.40q was neither answered nor hung up on: %w", sent, err)
		}
		if strings.Contains(line, " 200 ") && !strings.HasPrefix(sent, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n") {
			return fmt.Errorf("%.40q was answered %q", sent, line)
		}
	}
	return nil
}

// TestConfigs starts the imager with configs that let in other clients than they seem to,
// or none.
func TestConfigs(t *testing.T) {
	bin := need(t, program)
	tests := []struct{ name, text, says string }{
		{"a mask of 33 bits", `{"allowed_ips": ["10.0.0.0/33"], "shared_secret": "x"}`, "10.0.0.0/33"},
		{"half an address", `{"allowed_ips": ["192.168.1"], "shared_secret": "x"}`, "192.168.1"},
		{"a dotted mask", `{"allowed_ips": ["192.168.1.0/255.255.255.0"], "shared_secret": "x"}`, "192.168.1.0/255.255.255.0"},
		{"an address with a leading zero", `{"allowed_ips": ["192.168.001.7"], "shared_secret": "x"}`, "192.168.001.7"},
		{"a mapped prefix wider than IPv4", `{"allowed_ips": ["::ffff:0:0/90"], "shared_secret": "x"}`, "::ffff:0:0/90"},
		{"an asterisk", `{"allowed_ips": ["*"], "shared_secret": "x"}`, "*"},
		{"nobody", `{"allowed_ips": [], "shared_secret": "x"}`, "allowed_ips"},
		{"no token", `{"allowed_ips": ["127.0.0.1"], "shared_secret": ""}`, "shared_secret"},
		{"a token of spaces", `{"allowed_ips": ["127.0.0.1"], "shared_secret": "  "}`, "shared_secret"},
		{"a misspelt key", `{"allowed_ips": ["127.0.0.1"], "shared_secret": "x", "verfy": true}`, "verfy"},
		{"a key in capitals", `{"Allowed_IPs": ["0.0.0.0/0"], "allowed_ips": ["127.0.0.1"], "shared_secret": "x"}`, "Allowed_IPs"},
		{"a device with ..", `{"allowed_ips": ["127.0.0.1"], "shared_secret": "x", "allowed_devices": ["/dev/../etc/passwd"]}`, "/dev/../etc/passwd"},
		{"half a file", `{"allowed_ips": ["127.0.0.1"], "shared_se`, "JSON"},
		{"no file", "", "config"},
	}
	slots := recordSlots(abuse, len(tests))
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "config.json")
			if tt.text != "" {
				if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			begin := time.Now()
			cmd := exec.Command(bin, "-config", file)
			timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
			defer timer.Stop()
			out, err := cmd.CombinedOutput()
			text := strings.TrimSpace(string(out))
			if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(text, tt.says) || strings.Contains(text, "\n") {
				t.Fatalf("imager: %v %q, want exit status 1 and one line about %q", err, text, tt.says)
			}
			*slots[i] = record{Fault: "a config with " + tt.name, Says: "exit status 1: " + plain(text), After: "it does not start", Took: time.Since(begin)}
		})
	}
}
