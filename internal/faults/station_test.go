package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openseastack/netboot-imager/internal/emupi"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/lab"
)

// smallCard is the size of the emulated Pis' disks. A card's is a power of two.
const smallCard = 32 * mib

// scenario is a row that is played on an emulated Pi.
type scenario struct {
	fault  string
	model  string // virt-nvme unless set
	rules  string // of QEMU's blkdebug; none if ""
	format string // raw unless set
	memory int    // MiB
	args   []string
	// play acts after the write was asked for, and returns how it ended. The end comes on the
	// channel unless the station dies before.
	play   func(t *testing.T, p *pi, vm *emupi.VM, ended <-chan end) end
	serve  func(t testing.TB, s *flashtest.Server)
	status int
	says   string
	after  state
	// console is what the station's kernel must have said: proof that it met the fault.
	console string
	short   bool // is run by make test, too
}

// piImage is what emulated Pis write: small, since an emulated card takes 6 MB/s at best.
func piImage() []byte { return sampleImage() }

// TestStation: the appliance itself, in QEMU, from its own kernel and initramfs.
func TestStation(t *testing.T) {
	runScenarios(t, stat, stationScenarios)
}

// TestEmulatedDisk: QEMU's error injection under the emulated NVMe disk and card.
func TestEmulatedDisk(t *testing.T) {
	runScenarios(t, disks, diskScenarios)
}

func runScenarios(t *testing.T, group string, scenarios []scenario) {
	var chosen []scenario
	for _, s := range scenarios {
		if *full || s.short {
			chosen = append(chosen, s)
		} else {
			recordNotRun(group, s.fault)
		}
	}
	slots := recordSlots(group, len(chosen))
	gate := make(chan struct{}, 2) // machines at a time
	for i, s := range chosen {
		slots[i].Fault = s.fault
		t.Run(s.fault, func(t *testing.T) {
			t.Parallel()
			gate <- struct{}{}
			defer func() { <-gate }()
			s.run(t, slots[i])
		})
	}
}

func (s *scenario) run(t *testing.T, slot *record) {
	model, format := s.model, s.format
	if model == "" {
		model = "virt-nvme"
	}
	if format == "" {
		format = "raw"
	}
	if model == "3b" {
		format = "gzip" // its emulated network is slow
	}
	p := newPi(t, model, smallCard, piImage(), compressed(t, format, piImage()))
	p.MemoryMiB, p.KernelArgs = s.memory, s.args
	if s.rules != "" {
		p.blkdebug(t, s.rules)
	}
	if s.serve != nil {
		s.serve(t, p.images)
	}
	vm := p.on(t)
	ended := p.write(t.Context(), nil)
	var e end
	if s.play != nil {
		e = s.play(t, p, vm, ended)
	} else {
		e = <-ended
	}
	vm.Kill()
	after := p.examine(t)
	console, _ := vm.Console()
	if e.err != nil || e.code != s.status || !strings.Contains(e.sentence(), s.says) || after != s.after || e.Success && after != whole {
		t.Fatalf("%d %q (%v), the disk is %s; want %d %q and %s\n%s", e.code, e.sentence(), e.err, after, s.status, s.says, s.after, e.raw)
	}
	if !strings.Contains(console, s.console) {
		t.Errorf("the station's kernel did not meet the fault: %q is not on its console", s.console)
	}
	if strings.Contains(console, token) {
		t.Error("the token is on the console")
	}
	t.Logf("%d %s; %s; %.1f s", e.code, e.sentence(), after, e.took.Seconds())
	*slot = record{Fault: s.fault, Status: e.code, Says: plain(e.sentence()), After: string(after), Took: e.took}
}

var diskScenarios = []scenario{
	{
		fault: "emulated NVMe: EIO on write (QEMU's blkdebug)", rules: inject("write", bad), short: true,
		status: 500, says: "cannot write at byte", after: cleared, console: "op 0x1:(WRITE)",
	}, {
		fault: "emulated NVMe: EIO on read-back", rules: inject("read", bad),
		status: 500, says: "bytes 4194304-8388607", after: cleared, console: "op 0x0:(READ)",
	}, {
		// Linux tries a read of an NVMe disk six times.
		fault: "emulated NVMe: EIO on read-back until the kernel gives up, then no more", rules: strings.Repeat(inject("read", bad)+"once = \"on\"\n", 6),
		status: 200, after: whole, console: "op 0x0:(READ)",
	}, {
		fault: "emulated NVMe: EIO on flush", rules: "[inject-error]\nevent = \"flush_to_disk\"\niotype = \"flush\"\nerrno = \"5\"\n",
		status: 500, says: "cannot be flushed", after: cleared,
	}, {
		fault: "emulated SD card of a Pi 3B: a write fails, and QEMU's card does not tell", model: "3b", rules: inject("write", bad),
		status: 500, says: "bytes 4194304-8388607", after: cleared,
	},
}

// inject is a rule of blkdebug: EIO where an operation, read or write, touches a byte. Without
// iotype the event would begin it, but it would be had by all operations from then on.
func inject(op string, at int64) string {
	return fmt.Sprintf("[inject-error]\nevent = \"%s_aio\"\niotype = %[1]q\nerrno = \"5\"\nsector = \"%d\"\n", op, at/512)
}

var stationScenarios = []scenario{
	{
		fault: "nothing is wrong, 512 MB of memory", memory: 512,
		status: 200, after: whole,
	}, {
		fault: "512 MB of memory, xz, 200 MiB of them taken by something else in mid-write", memory: 512, format: "xz", serve: pause,
		play:   meanwhile("eat?n=200"),
		status: 200, after: whole,
	}, {
		fault: "out of memory in mid-write: the kernel ends the imager, gokrazy starts it again", memory: 512, serve: held,
		play:   dies("eat?n=600"),
		status: 0, says: "the service was restarted in the middle of job", after: cleared, console: "Out of memory: Killed process",
	}, {
		fault: "the imager crashes in mid-write, gokrazy starts it again", serve: held, short: true,
		play:   dies("crash"),
		status: 0, says: "the service was restarted in the middle of job", after: cleared,
	}, {
		fault: "the imager crashes in mid-write; then the same is asked for again", serve: held,
		play: func(t *testing.T, p *pi, vm *emupi.VM, ended <-chan end) end {
			if e := dies("crash")(t, p, vm, ended); e.err != nil {
				return e
			}
			p.images.Set(func(s *flashtest.Server) { s.Stall = -1 })
			return <-p.write(t.Context(), nil)
		},
		status: 200, after: whole,
	}, {
		fault: "the clock is at 1970 and jumps to 2026 in mid-write", serve: pause, args: []string{"initcall_blacklist=pl031_driver_init"},
		play:   clock(anHour, 1795678000),
		status: 200, after: whole,
	}, {
		fault: "the clock is in 2026 and jumps back to 1970 in mid-write", serve: pause,
		play:   clock(1795678000, anHour),
		status: 200, after: whole,
	}, {
		fault: "the DHCP lease of two minutes is renewed in mid-write", serve: func(t testing.TB, s *flashtest.Server) { s.Slow = 700 * time.Millisecond },
		play:   renewal,
		status: 200, after: whole,
	}, {
		fault: "POST /reboot in mid-write", serve: pause,
		play: func(t *testing.T, p *pi, vm *emupi.VM, ended <-chan end) end {
			if _, err := p.await(t.Context(), isWriting); err != nil {
				return end{err: err}
			}
			code, b, err := p.post(t.Context(), "/reboot")
			if err != nil || code != 409 {
				return end{err: fmt.Errorf("POST /reboot: %d %s (%v), want 409", code, b, err)}
			}
			return <-ended
		},
		status: 200, after: whole,
	}, {
		fault: "gokrazy's own /reboot in mid-write: the station ends, and comes up again", serve: pause,
		play: func(t *testing.T, p *pi, vm *emupi.VM, ended <-chan end) end {
			if _, err := p.await(t.Context(), isWriting); err != nil {
				return end{err: err}
			}
			if _, err := p.test(t.Context(), "reboot"); err != nil {
				return end{err: err}
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("five minutes are over"))
			defer cancel()
			if err := vm.WaitReset(ctx); err != nil {
				return end{err: err}
			}
			e := <-ended // the last thing that it says, or nothing
			if after := p.examine(t); after != cleared {
				return end{err: fmt.Errorf("the disk is %s", after)}
			}
			again := p.on(t)
			defer again.Kill()
			if n := p.partitions(t); n != 0 {
				return end{err: fmt.Errorf("the station's kernel finds %d partitions", n)}
			}
			e.err = nil
			return e
		},
		status: 409, says: "cancelled by the end of the service", after: cleared,
	},
}

// held has a write wait for the image in the middle, for good.
func held(_ testing.TB, s *flashtest.Server) { s.Stall = 5 * mib }

// pause makes a write last a few seconds.
func pause(_ testing.TB, s *flashtest.Server) { s.Slow = 60 * time.Millisecond }

func isWriting(s emupi.Status) bool { return s.Stage == "writing" && s.PhaseBytes > 2*mib }

// meanwhile asks a hook in mid-write.
func meanwhile(path string) func(*testing.T, *pi, *emupi.VM, <-chan end) end {
	return func(t *testing.T, p *pi, _ *emupi.VM, ended <-chan end) end {
		if _, err := p.await(t.Context(), isWriting); err != nil {
			return end{err: err}
		}
		if _, err := p.test(t.Context(), path); err != nil {
			return end{err: err}
		}
		return <-ended
	}
}

// dies asks a hook in mid-write that the imager does not survive, and returns what GET /status
// says when there is another process.
func dies(path string) func(*testing.T, *pi, *emupi.VM, <-chan end) end {
	return func(t *testing.T, p *pi, vm *emupi.VM, ended <-chan end) end {
		before, err := p.test(t.Context(), "pid")
		if err != nil {
			return end{err: err}
		}
		if _, err := p.await(t.Context(), isWriting); err != nil {
			return end{err: err}
		}
		p.test(t.Context(), path) // there may be no answer
		begin := time.Now()
		<-ended
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("five minutes are over"))
		defer cancel()
		for {
			if pid, err := p.test(ctx, "pid"); err == nil && pid != before {
				break
			}
			if err := vm.Ended(); err != nil {
				return end{err: err}
			}
			if ctx.Err() != nil {
				return end{err: fmt.Errorf("the imager was not started again: %w", context.Cause(ctx))}
			}
		}
		if _, err := p.Station(8888).WaitHealthy(ctx, vm); err != nil {
			return end{err: err}
		}
		st, err := p.Station(8888).Status(ctx)
		e := end{err: err, took: time.Since(begin)}
		e.Message = st.Message
		if st.Error != nil {
			e.Error = *st.Error
		}
		return e
	}
}

// anHour is a time of 1970, in seconds. The kernel's clock cannot be before its start.
const anHour = 3600

// clock sets the station's clock twice, the second time in mid-write.
func clock(before, then int) func(*testing.T, *pi, *emupi.VM, <-chan end) end {
	return func(t *testing.T, p *pi, vm *emupi.VM, ended <-chan end) end {
		if _, err := p.test(t.Context(), fmt.Sprintf("clock?n=%d", before)); err != nil {
			return end{err: err}
		}
		return meanwhile(fmt.Sprintf("clock?n=%d", then))(t, p, vm, ended)
	}
}

// renewal waits for the end, and makes sure that the lease was renewed before.
func renewal(t *testing.T, p *pi, _ *emupi.VM, ended <-chan end) end {
	count := func() int {
		b, err := os.ReadFile(p.net.DnsmasqLog())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "DHCPACK")
	}
	before := count()
	e := <-ended
	if n := count(); n <= before && e.err == nil {
		e.err = fmt.Errorf("no lease was renewed during the write of %.0f s: %d DHCPACK before and after", e.took.Seconds(), n)
	}
	return e
}

// TestPowerOff pulls the plug of an emulated Pi at random moments of a write to its card. Its own
// kernel must then find no partitions, or those of the image; and at last a write goes
// through.
func TestPowerOff(t *testing.T) {
	tests := []struct {
		model string
		n     int
	}{{"virt-nvme", sometimes(1, 20)}, {"3b", 20}}
	if !*full { // the emulated card takes minutes
		recordNotRun(power, "power off at 20 random moments of a write to the card of an emulated Pi 3B")
		tests = tests[:1]
	}
	slots := recordSlots(power, len(tests))
	for i, tt := range tests {
		t.Run(tt.model, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			p := newPi(t, tt.model, smallCard, piImage(), compressed(t, "gzip", piImage()))
			pause(t, p.images)
			if tt.model == "3b" {
				p.images.Slow = 0
			}
			rng := rand.New(rand.NewPCG(uint64(i), 9))
			var ends tally
			for k := range tt.n {
				vm := p.on(t)
				p.kernelAgrees(t)
				p.write(t.Context(), nil)
				moment := rng.Float64() * 100
				if k%3 == 2 {
					moment = 95 // reading back, and the first MiB
				}
				// The moment may be missed, if the write ends first.
				p.await(t.Context(), func(s emupi.Status) bool { return s.Percent >= moment })
				time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond) // it is a test about time
				vm.Kill()
				o := &outcome{after: p.examine(t), took: time.Since(begin)}
				if o.after == corrupt {
					t.Fatalf("power off at %.0f %%: the disk is %s", moment, o.after)
				}
				t.Logf("power off at %.0f %%: %s", moment, o.after)
				ends.add(o)
			}
			vm := p.on(t)
			p.kernelAgrees(t)
			p.images.Set(func(s *flashtest.Server) { s.Slow = 0 })
			e := <-p.write(t.Context(), nil)
			vm.Kill()
			if after := p.examine(t); e.err != nil || e.code != 200 || after != whole {
				t.Fatalf("the write at the end: %d %s (%v); the disk is %s", e.code, e.raw, e.err, after)
			}
			disk := map[string]string{"3b": "the card of an emulated Pi 3B", "virt-nvme": "an emulated NVMe disk"}[tt.model]
			slots[i].tally("power off at a random moment of a write to "+disk+"; its own kernel looks at it then, and at last it is written", &ends)
			slots[i].Says = "at last: " + plain(e.sentence())
			slots[i].Status, slots[i].Took = e.code, time.Since(begin)
		})
	}
}

// kernelAgrees compares what the station's kernel finds on the disk with what is there.
func (p *pi) kernelAgrees(t *testing.T) {
	t.Helper()
	n, now := p.partitions(t), p.examine(t)
	if (n == 0) != (now == cleared) {
		t.Errorf("the disk is %s, and the station's kernel finds %d partitions", now, n)
	}
}

// post sends a request with the token and without a body.
func (p *pi) post(ctx context.Context, path string) (int, string, error) {
	url, err := p.Station(8888).URL(path)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Netboot-Token", token)
	resp, err := lab.Client(p.net).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
