package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSlowClients has clients that do not finish their requests, or do not read their
// answers. The service lets go of them, and serves others meanwhile.
func TestSlowClients(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(disk, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	base, stop := startImager(t, dir, disk)
	defer stop()
	tests := []struct{ name, sent, want string }{
		{"slow header", "GET /status HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
		{"slow body", "POST /write-image HTTP/1.1\r\nHost: x\r\nX-Netboot-Token: fake-token\r\nContent-Length: 100\r\n\r\n{", "408 Request Timeout"},
		{"no HTTP", "\x16\x03\x01 hello\r\n\r\n", "400 Bad Request"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		{"header too large", "GET /status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "431"},
	}
	t.Run("clients", func(t *testing.T) { // returns when the parallel tests have ended
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go io.WriteString(conn, tt.sent)
				conn.SetReadDeadline(time.Now().Add(time.Minute))
				b, err := io.ReadAll(conn)
				var ne net.Error
				if errors.As(err, &ne) && ne.Timeout() {
					t.Fatalf("the connection is still open after a minute, having got %q", b)
				}
				if !strings.Contains(string(b), tt.want) {
					t.Errorf("got %q, want %q", b, tt.want)
				}
			})
		}
		t.Run("others", func(t *testing.T) {
			t.Parallel()
			for range 20 {
				resp, err := http.Get(base + "/health")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("/health: %s", resp.Status)
				}
			}
		})
	})
}
