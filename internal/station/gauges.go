package station

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// namespace is the prefix of all metrics.
const namespace = "netboot_imager"

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	descBuild       = desc("build_info", "Always 1; what program this is.", "version", "goversion")
	descRunning     = desc("job_running", "Whether a write is running.")
	descProgress    = desc("job_progress_ratio", "How far the running job is, 0 to 1.")
	descRate        = desc("job_bytes_per_second", "Rate of the running job's current phase over the last seconds.")
	descSuccess     = desc("last_success_timestamp_seconds", "When the last successful write ended, by this station's clock.")
	descPresent     = desc("disk_present", "Whether an allowed disk is there.", "device")
	descDisk        = desc("disk_size_bytes", "Size of a disk that is there.", "device", "model", "serial")
	descInUse       = desc("disk_in_use", "Whether a disk that is there is in use.", "device")
	descTemperature = desc("temperature_celsius", "The processor's temperature.")
	descTotal       = desc("memory_total_bytes", "RAM of the machine.")
	descAvailable   = desc("memory_available_bytes", "RAM that programs can still get.")
	descHeap        = desc("process_memory_bytes", "Memory that this program has from the system.")
	descUptime      = desc("uptime_seconds", "Time since the machine was started.")
)

// gauges measures when it is asked.
type gauges struct{ s *Server }

// Describe sends nothing: the collector is unchecked, since which gauges there are depends
// on the machine.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

func (g *gauges) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := g.s
	gauge(descBuild, 1, s.opt.Version, runtime.Version())

	running := s.running() != nil
	gauge(descRunning, number(running))
	progress, rate := 0.0, 0.0
	if st := s.Status(); running {
		progress, rate = float64(st.Percent)/100, float64(st.BytesPerSecond)
	}
	gauge(descProgress, progress)
	gauge(descRate, rate)
	if r := s.lastReceipt(); r != nil {
		gauge(descSuccess, float64(r.Finished.UnixMilli())/1000)
	}

	if a := s.active.Load(); a != nil {
		for _, d := range s.inventory(a) {
			gauge(descPresent, number(d.Present), d.Device)
			if d.Present {
				gauge(descDisk, float64(d.Size), d.Device, d.Model, d.Serial)
				gauge(descInUse, number(d.InUse != ""), d.Device)
			}
		}
	}

	f := s.machine().Facts()
	if f.TemperatureCelsius != nil {
		gauge(descTemperature, *f.TemperatureCelsius)
	}
	gauge(descTotal, float64(f.MemoryTotal))
	gauge(descAvailable, float64(f.MemoryAvailable))
	gauge(descUptime, float64(f.UptimeSeconds))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	gauge(descHeap, float64(mem.Sys))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
