package flash

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/openseastack/netboot-imager/internal/disk"
	"github.com/openseastack/netboot-imager/internal/flashtest"
	"github.com/openseastack/netboot-imager/internal/source"
)

// endless is an image of size bytes out of nothing, without a network.
type endless struct {
	size, at int64
	head     []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if e.at == e.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.size-e.at))
	for i := 0; i < n; i += pageSize {
		binary.LittleEndian.PutUint64(p[i:n:cap(p)][:8], uint64(e.at)+uint64(i)+1)
	}
	if e.at < int64(len(e.head)) {
		copy(p[:n], e.head[e.at:])
	}
	e.at += int64(n)
	return n, nil
}

func (e *endless) Taken() int64              { return e.at }
func (e *endless) Retries() int64            { return 0 }
func (e *endless) Starved() time.Duration    { return 0 }
func (e *endless) Receiving() time.Duration  { return 0 }
func (e *endless) Transfer() source.Transfer { return source.Transfer{Bytes: e.size} }
func (e *endless) Interrupt()                {}
func (e *endless) Again(context.Context, int64) (io.ReadCloser, error) {
	return nil, errors.New("the disk lost something")
}

// endlessJob writes size bytes to d, in no time: what is said every second is not counted.
func endlessJob(t testing.TB, d Disk, size int64) {
	img := &endless{size: size, head: flashtest.Image(2*mib, 1)[:512]}
	p, err := Prepare(context.Background(), d, img, source.Info{Format: source.Gzip, Size: -1, TransferSize: size},
		Options{Progress: NewProgress(func() time.Time { return time.Time{} })})
	if err != nil {
		t.Fatal(err)
	}
	p.syncEvery = time.Hour
	if _, err := p.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestAllocations counts those that an image of more blocks needs more: none a block but
// for the ledger, which grows by doubling. The first job writes, the second, which is
// counted, compares.
func TestAllocations(t *testing.T) {
	const small, large = 32 * mib, 160 * mib
	d := flashtest.NewDisk(164 * mib)
	count := func(size int64) float64 {
		return testing.AllocsPerRun(1, func() { endlessJob(t, d, size) })
	}
	less, more := count(small), count(large)
	t.Logf("%.0f allocations for %d MiB, %.0f for %d MiB", less, small/mib, more, large/mib)
	if blocks := float64((large - small) / blockSize); (more-less)/blocks >= 1 {
		t.Errorf("%.2f allocations a block", (more-less)/blocks)
	}
}

// BenchmarkPipeline is what the pipeline itself costs: an image out of nothing to a disk
// in memory.
func BenchmarkPipeline(b *testing.B) {
	const size = 256 * mib
	d := &nowhere{size}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		img := &endless{size: size, head: flashtest.Image(2*mib, 1)[:512]}
		p, err := Prepare(context.Background(), d, img, source.Info{Format: source.Gzip, Size: -1, TransferSize: size}, Options{NoVerify: true})
		if err != nil {
			b.Fatal(err)
		}
		// The head, which a disk that forgets cannot give back, is not what is measured.
		if err := p.write(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere is a disk that forgets.
type nowhere struct {
	size int64
}

func (d *nowhere) WriteAt(p []byte, off int64) (int, error)    { return len(p), nil }
func (d *nowhere) ReadAt(p []byte, off int64) (int, error)     { return len(p), nil }
func (d *nowhere) Size() int64                                 { return d.size }
func (d *nowhere) BlockSize() int                              { return 512 }
func (d *nowhere) Zero(off, n int64) error                     { return nil }
func (d *nowhere) Sync() error                                 { return nil }
func (d *nowhere) Direct() bool                                { return true }
func (d *nowhere) ZeroingOffload() bool                        { return true }
func (d *nowhere) RereadPartitions() ([]disk.Partition, error) { return nil, nil }
func (d *nowhere) Info() disk.Info                             { return disk.Info{} }

// TestReceiptKeepsNothing checks that a receipt does not keep what the job needed: a station
// has the receipts of many jobs, and memory for one.
func TestReceiptKeepsNothing(t *testing.T) {
	srv := flashtest.NewServer(t, flashtest.Image(2*mib, 1))
	plan, receipt, err := job(t, flashtest.NewDisk(4*mib), srv, Options{})
	if err != nil {
		t.Fatal(err)
	}
	kept := weak.Make(plan)
	plan = nil
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the plan is still there")
	}
	runtime.KeepAlive(receipt)
}
