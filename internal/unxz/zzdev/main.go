package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/openseastack/netboot-imager/internal/unxz"
)

func main() {
	c := flag.Int("c", 1, "")
	m := flag.Int64("m", 0, "")
	sum := flag.Bool("sum", false, "")
	prof := flag.String("prof", "", "")
	flag.Parse()
	f, err := os.Open(flag.Arg(0))
	if err != nil {
		panic(err)
	}
	if *prof != "" {
		g, _ := os.Create(*prof)
		pprof.StartCPUProfile(g)
		defer pprof.StopCPUProfile()
	}
	t := time.Now()
	z, err := unxz.NewReader(f, unxz.Options{Concurrency: *c, MaxMemory: *m})
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 4<<20)
	h := sha256.New()
	n := 0
	for {
		k, err := z.Read(buf)
		n += k
		if *sum {
			h.Write(buf[:k])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(n, err)
			os.Exit(1)
		}
	}
	z.Close()
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	fmt.Printf("%d bytes %.2fs user %.2fs rss %dM", n, time.Since(t).Seconds(), time.Duration(ru.Utime.Nano()).Seconds(), ru.Maxrss>>10)
	if *sum {
		fmt.Printf(" %x", h.Sum(nil))
	}
	fmt.Println()
}
