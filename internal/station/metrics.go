package station

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what GET /metrics counts, in a registry of their own. What is measured when
// it is asked for is in gauges.
type metrics struct {
	handler http.Handler

	jobs     *prometheus.CounterVec // by result
	image    prometheus.Counter
	transfer prometheus.Counter
	phases   *prometheus.CounterVec // by phase
	retries  prometheus.Counter
	repaired prometheus.Counter
}

// Results of jobs, as GET /metrics has them. A dry run is none.
const (
	resultSuccess   = "success"
	resultError     = "error"
	resultCancelled = "cancelled"
)

func newMetrics(s *Server) *metrics {
	reg := prometheus.NewRegistry()
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
		reg.MustRegister(c)
		for _, v := range values {
			c.WithLabelValues(v) // a series that begins at 0 can be watched for its first increase
		}
		return c
	}
	m := &metrics{
		jobs:     vec("jobs_total", "Writes that ended.", "result", resultSuccess, resultError, resultCancelled),
		image:    counter("image_bytes_total", "Bytes of images written by successful jobs."),
		transfer: counter("transfer_bytes_total", "Bytes downloaded for successful jobs."),
		phases:   vec("phase_seconds_total", "Time that successful jobs spent, by phase.", "phase", "wipe", "write", "sync", "verify", "finish"),
		retries:  counter("retries_total", "Connections to image servers that broke or could not be made."),
		repaired: counter("repaired_ranges_total", "Ranges that differed when they were read back and were written again, in successful jobs."),
	}
	reg.MustRegister(&gauges{s})
	m.handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	return m
}

// ended counts a job's end.
func (m *metrics) ended(r *receipt, err error) {
	var cancelled *CancelledError
	switch {
	case err == errDry:
	case errors.As(err, &cancelled):
		m.jobs.WithLabelValues(resultCancelled).Inc()
	case err != nil:
		m.jobs.WithLabelValues(resultError).Inc()
	default:
		m.jobs.WithLabelValues(resultSuccess).Inc()
		m.image.Add(float64(r.ImageSize))
		m.transfer.Add(float64(r.TransferSize))
		m.repaired.Add(float64(len(r.Repaired)))
		for phase, seconds := range map[string]float64{
			"wipe": r.Phases.Wipe, "write": r.Phases.Write, "sync": r.Phases.Sync, "verify": r.Phases.Verify, "finish": r.Phases.Finish,
		} {
			m.phases.WithLabelValues(phase).Add(seconds)
		}
	}
}

// serveMetrics answers GET /metrics in Prometheus' text format.
func (s *Server) serveMetrics(_ *active, w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}
