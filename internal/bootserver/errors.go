package bootserver

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/openseastack/netboot-imager/internal/guard"
	"github.com/openseastack/netboot-imager/internal/imagestore"
	"github.com/openseastack/netboot-imager/internal/redeploy"
	"github.com/openseastack/netboot-imager/internal/stations"
	"github.com/openseastack/netboot-imager/internal/trees"
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

// statusOf is the one place that knows which HTTP status an error has.
func statusOf(err error) int {
	var (
		he *httpError
		ne net.Error
	)
	switch {
	case errors.As(err, &he):
		return he.status
	case is[*guard.AddrError](err), is[*guard.TokenError](err):
		return http.StatusForbidden
	case is[*guard.RateError](err):
		return http.StatusTooManyRequests
	case is[*imagestore.NameError](err), is[*stations.SerialError](err):
		return http.StatusBadRequest
	case is[*imagestore.NotFoundError](err), is[*stations.NotFoundError](err):
		return http.StatusNotFound
	case is[*imagestore.ConflictError](err), is[*imagestore.BusyError](err), is[*trees.NoTreeError](err), is[*redeploy.TestRunsError](err):
		return http.StatusConflict
	case is[*imagestore.DigestError](err):
		return http.StatusUnprocessableEntity
	case is[*imagestore.SpaceError](err):
		return http.StatusInsufficientStorage
	case errors.As(err, &ne) && ne.Timeout():
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

func is[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
