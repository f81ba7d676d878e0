package redeploy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/openseastack/netboot-imager/internal/netboot"
)

// Certificate is what HTTPS is served with: as on a gokrazy device, that which gok put into
// the root image. Use OpenCertificate. A nil *Certificate has none.
type Certificate struct {
	dir string

	mu   sync.Mutex
	cert *tls.Certificate
	next *tls.Certificate // in force from the reboot on that gok asks for
}

// Names of the certificate and its key in gokrazy's root file system and in the directory.
const (
	certName = "gokrazy-web.pem"
	keyName  = "gokrazy-web.key.pem"
)

// OpenCertificate reads the certificate that an earlier update left in dir, if there is one.
func OpenCertificate(dir string) (*Certificate, error) {
	c := &Certificate{dir: dir}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certName), filepath.Join(dir, keyName))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificate in %s: %w", dir, err)
	}
	c.cert = &pair
	return c, nil
}

// Has says that there is a certificate.
func (c *Certificate) Has() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert != nil
}

// Get is for tls.Config.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert == nil {
		return nil, errors.New("there is no certificate yet: it comes with the first update by a gok that uses TLS")
	}
	return c.cert, nil
}

// take takes over the certificate of a root image. One without leaves the old in force.
func (c *Certificate) take(images *netboot.Images) error {
	if c == nil {
		return nil
	}
	cert, err := images.RootFile("etc/ssl/" + certName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	key, err := images.RootFile("etc/ssl/" + keyName)
	if err != nil {
		return fmt.Errorf("the certificate's key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return &ImageError{fmt.Errorf("its certificate: %w", err)}
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	for name, b := range map[string][]byte{keyName: key, certName: cert} {
		if err := renameio.WriteFile(filepath.Join(c.dir, name), b, 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
			return fmt.Errorf("storing the certificate: %w", err)
		}
	}
	c.mu.Lock()
	c.next = &pair
	c.mu.Unlock()
	return nil
}

// activate puts what take took in force: on a gokrazy device that is the reboot, and until
// then gok goes on without HTTPS if it began without.
func (c *Certificate) activate() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		c.cert, c.next = c.next, nil
	}
}
