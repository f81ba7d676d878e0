package lab

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"time"
)

// Network is what an emulated Pi, its boot server and who operates it are on. Close
// it after use.
type Network interface {
	// Do runs f, and the sockets that it opens, within the network.
	Do(f func() error) error
	// Start starts a program within the network. It dies with this process.
	Start(cmd *exec.Cmd) (*Process, error)
	// TFTPAddr is where the tree is served, host:port within the network.
	TFTPAddr() string
	// Server is this machine's address as the station sees it.
	Server() string
	// Listen listens on a TCP port that the station reaches at Server; 0 takes a free one.
	Listen(port int) (net.Listener, error)
	// StationAddr is the host:port where the station's port is reached, once it has an
	// address. In QEMU's user network only some ports can be had: see NewUser.
	StationAddr(mac string, port int) (string, error)
	// TellsMTU says whether DHCP tells who asks for it the MTU that makes the USB network of
	// QEMU's Raspberry Pi 3B fast.
	TellsMTU() bool
	// QEMUNetdev is QEMU's argument to -netdev, with id=n0.
	QEMUNetdev() string
	// Close ends every program and removes the network.
	Close() error
}

// Client is an HTTP client within the network. It has no time limit of its own, for a
// write may take as long as it takes.
func Client(n Network) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // stations are restarted behind the same address
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			d := net.Dialer{Timeout: 5 * time.Second}
			err = n.Do(func() error {
				c, err = d.DialContext(ctx, network, addr)
				return err
			})
			return c, err
		},
	}}
}
