package station

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flash"
	"github.com/openseastack/netboot-imager/internal/guard"
	"github.com/openseastack/netboot-imager/internal/source"
)

// httpError is an error that is HTTP's own.
type httpError struct {
	status int
	msg    string
}

func (e *httpError) Error() string { return e.msg }

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// BusyError is returned while another job runs.
type BusyError struct{ Running string }

func (e *BusyError) Error() string {
	return "a write is already running: " + e.Running + "; wait for its end or cancel it by DELETE /write-image"
}

// CancelledError is the cause of a job that somebody stopped.
type CancelledError struct{ By string }

func (e *CancelledError) Error() string { return "cancelled by " + e.By }

// statusOf is the one place that knows which HTTP status an error has.
func statusOf(err error) int {
	var (
		he *httpError
		me *http.MaxBytesError
		ne net.Error
	)
	switch {
	case errors.As(err, &he):
		return he.status
	case errors.As(err, &me):
		return http.StatusRequestEntityTooLarge
	case is[*guard.AddrError](err), is[*guard.TokenError](err), is[*source.HostError](err):
		return http.StatusForbidden
	case is[*guard.RateError](err):
		return http.StatusTooManyRequests
	case is[*disk.NotAllowedError](err):
		return http.StatusBadRequest
	case is[*disk.NotPresentError](err):
		return http.StatusNotFound
	case is[*disk.InUseError](err), is[*BusyError](err), is[*CancelledError](err):
		return http.StatusConflict
	case is[*flash.StallError](err), is[*source.StallError](err):
		return http.StatusGatewayTimeout
	case is[*flash.DiskError](err), is[*flash.MismatchError](err):
		return http.StatusInternalServerError
	case is[*source.ServerError](err):
		return http.StatusBadGateway
	case is[*source.ImageError](err), is[*flash.ImageError](err), is[*flash.TooLargeError](err):
		return http.StatusUnprocessableEntity
	case errors.As(err, &ne) && ne.Timeout():
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
