package source

import (
	"fmt"
	"time"
)

// HostError is returned for an address that images may not come from.
type HostError struct{ Host string }

func (e *HostError) Error() string {
	return fmt.Sprintf("image host not allowed: %s is neither in allowed_ips nor in image_hosts; add it there or use the netboot server's address", e.Host)
}

// ServerError is returned when the image server does not deliver: it cannot be reached,
// answers with another status than 200, or has another image than before.
type ServerError struct {
	URL string
	Why string
	Err error // may be nil
}

func (e *ServerError) Error() string {
	s := fmt.Sprintf("image server: %s: %s", e.URL, e.Why)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ServerError) Unwrap() error { return e.Err }

// StallError is returned when no byte has arrived for too long.
type StallError struct {
	URL      string
	Received int64 // bytes
	For      time.Duration
}

func (e *StallError) Error() string {
	return fmt.Sprintf("image server: %s: stalled after %d bytes: nothing more came for %v; check the server and the cable", e.URL, e.Received, e.For)
}

// ImageError is returned for an image that is not what it should be: truncated,
// corrupt, followed by junk, or of an unknown kind.
type ImageError struct {
	Format string // "gzip", …; "" if unknown
	Why    string
	Err    error // may be nil
}

func (e *ImageError) Error() string {
	s := e.Why
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

func (e *ImageError) Unwrap() error { return e.Err }
