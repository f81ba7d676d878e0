package bench

import (
	"bytes"
	"os"
	"strconv"
)

// clockTicks is the unit of /proc/stat in a second, on every machine that Go runs on.
const clockTicks = 100

// busySeconds is for how many seconds the machine's cores have been busy since it was
// started, all together; 0 if that cannot be had. What a contender costs is more than its
// processes: the image server, the network and a loop device are the kernel's or others'.
func busySeconds() float64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(b, []byte("\n"))
	ticks := 0
	for i, f := range bytes.Fields(line) {
		switch i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq (proc(5))
			n, _ := strconv.Atoi(string(f))
			ticks += n
		}
	}
	return float64(ticks) / clockTicks
}
