// Command bench measures what a call through Genkan costs, beside a tuned
// httputil.ReverseProxy that does the same exchange in the same run. scripts/bench
// builds and starts it; docs/performance.md tells how to read what it prints.
//
// It owns no part of the product and judges no time: machines differ, and so do
// neighbours on one machine. It fails only when requests failed. Everything listens on
// 127.0.0.1 alone, and sessions begin with a real sign-in at the development provider.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// options are the command line's.
type options struct {
	bin     string        // folder of genkan and devidp
	seconds time.Duration // of one load
	rounds  int
	quick   bool
	only    string // stores, comma-separated; empty: all
}

// run returns the exit status: 2 for wrong usage, 1 when requests failed or nothing
// could be measured. The first argument names what to do, and is one of ours when the
// benchmark starts its own servers.
func run(ctx context.Context, args []string) int {
	what := "calls"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		what, args = args[0], args[1:]
	}
	var err error
	switch what {
	case "upstream":
		err = serve(ctx, args, upstream)
	case "reverse-proxy":
		err = serve(ctx, args, reverseProxy)
	case "calls":
		err = measure(ctx, args, calls)
	case "sessions":
		err = measure(ctx, args, bySessions)
	case "streams":
		err = measure(ctx, args, streams)
	default:
		err = fmt.Errorf("%w: there is no %q, only calls, sessions and streams", errUsage, what)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

var errUsage = errors.New("usage")

// measure reads the flags and runs one of the benchmarks.
func measure(ctx context.Context, args []string, benchmark func(context.Context, *rig) error) error {
	var o options
	var seconds int
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = io.WriteString(flags.Output(), "usage: scripts/bench [calls | sessions | streams] [flags]\n"+
			"  calls     CPU per request on each store, beside the reverse proxy (default)\n"+
			"  sessions  the same with 10, 1,000 and 100,000 sessions in use\n"+
			"  streams   1 GiB up and down, 1,000 idle WebSockets, an upstream that trickles\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.bin, "bin", "bin", "`folder` of genkan and devidp")
	flags.IntVar(&seconds, "seconds", 0, "`seconds` of each load (default 6, or 2 with --quick)")
	flags.IntVar(&o.rounds, "rounds", 0, "`rounds` of each target (default 5, or 3 with --quick)")
	flags.BoolVar(&o.quick, "quick", false, "less of everything, for a first look")
	flags.StringVar(&o.only, "stores", "", "`stores` to measure, comma-separated (default memory,sqlite,redis,postgres)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if flags.NArg() > 0 || seconds < 0 || o.rounds < 0 {
		return fmt.Errorf("%w: see scripts/bench -h", errUsage)
	}
	o.seconds = pick(time.Duration(seconds)*time.Second, o.quick, 2*time.Second, 6*time.Second)
	o.rounds = pick(o.rounds, o.quick, 3, 5)
	return withRig(ctx, o, benchmark)
}

// pick is given, or else what a quick run or a whole one takes.
func pick[T comparable](given T, quick bool, short, long T) T {
	var zero T
	switch {
	case given != zero:
		return given
	case quick:
		return short
	}
	return long
}
