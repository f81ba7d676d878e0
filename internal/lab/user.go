package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pin/tftp/v3"
)

// User is the network for who is not root: QEMU's user network, in which QEMU itself
// plays the DHCP server, and a TFTP server of this process on the loopback interface
// (QEMU's own can be reached from inside the emulated machine alone, and a boot loader
// that QEMU does not have is outside).
type User struct {
	// state
	tftp  *tftp.Server
	addr  string
	ports map[int]int // the station's port -> ours
	mu    sync.Mutex
	procs []*Process
}

var _ Network = (*User)(nil)

// qemuHost is this machine as QEMU's user network shows it.
const qemuHost = "10.0.2.2"

// NewUser serves tree by TFTP on a free loopback port. The station's ports 80 and 8888
// can be reached, and the ports given.
func NewUser(tree string, ports ...int) (*User, error) {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return nil, fmt.Errorf("opening the tree to serve (`make netboot` makes one): %w", err)
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	u := &User{addr: conn.LocalAddr().String(), ports: map[int]int{}}
	for _, port := range append([]int{80, 8888}, ports...) {
		if u.ports[port], err = freePort(); err != nil {
			return nil, errors.Join(err, root.Close(), conn.Close())
		}
	}
	u.tftp = tftp.NewServer(func(name string, r io.ReaderFrom) error { return serve(root, name, r) }, nil)
	u.tftp.SetTimeout(time.Second)
	go func() {
		_ = u.tftp.Serve(conn) // ends by Shutdown
		root.Close()
	}()
	return u, nil
}

// serve answers one request for a file of the tree.
func serve(root *os.Root, name string, r io.ReaderFrom) error {
	f, err := root.Open(filepath.FromSlash(strings.TrimLeft(name, "/")))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("file not found")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return errors.New("file not found")
	}
	_, err = r.ReadFrom(f) // it finds the size by seeking
	return err
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// Do implements Network.
func (u *User) Do(f func() error) error { return f() }

// Start implements Network.
func (u *User) Start(cmd *exec.Cmd) (*Process, error) {
	p, err := start(cmd, func() error { return nil })
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.procs = append(u.procs, p)
	return p, nil
}

// TFTPAddr implements Network.
func (u *User) TFTPAddr() string { return u.addr }

// UseTFTP makes TFTPAddr another server's address, host:port.
func (u *User) UseTFTP(addr string) { u.addr = addr }

// Server implements Network.
func (u *User) Server() string { return qemuHost }

// Listen implements Network.
func (u *User) Listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// StationAddr implements Network: QEMU forwards a loopback port.
func (u *User) StationAddr(_ string, port int) (string, error) {
	p, ok := u.ports[port]
	if !ok {
		return "", fmt.Errorf("port %d is not forwarded", port)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p)), nil
}

// TellsMTU implements Network.
func (u *User) TellsMTU() bool { return false }

// QEMUNetdev implements Network.
func (u *User) QEMUNetdev() string {
	s := "user,id=n0"
	for port, ours := range u.ports {
		s += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", ours, port)
	}
	return s
}

// Close implements Network.
func (u *User) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.procs {
		p.Kill()
	}
	u.procs = nil
	u.tftp.Shutdown()
	return nil
}
