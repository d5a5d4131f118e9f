package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// round is one load of a target, right after one of the reverse proxy.
type round struct {
	result
	cpu   time.Duration // of the server's process, for a request
	ratio float64       // of cpu to the reverse proxy's; 0 for the reverse proxy itself
}

// calls measures what a call costs on each store.
func calls(ctx context.Context, r *rig) error {
	targets, err := r.callTargets(ctx)
	if err != nil {
		return err
	}
	rounds, err := r.interleave(ctx, targets)
	if err != nil {
		return err
	}
	r.table(r.plain.name, rounds[r.plain.name])
	for _, t := range targets {
		r.table(t.name, rounds[t.name])
	}
	return nil
}

// names are the stores asked for.
func (r *rig) names(all []string) []string {
	if r.only == "" {
		return all
	}
	return strings.Split(r.only, ",")
}

// callTargets are a Genkan on every store, and what else there is to compare on the
// first of them.
func (r *rig) callTargets(ctx context.Context) (targets []*target, err error) {
	names := r.names(storeNames)
	stores, err := r.stores(names)
	if err != nil {
		return nil, err
	}
	var wanted []genkan
	for _, name := range names {
		if store, ok := stores[name]; ok {
			wanted = append(wanted, genkan{name: name, store: store})
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("no store of %s is installed", strings.Join(names, ", "))
	}
	first := wanted[0].name
	for _, more := range []genkan{
		{name: first + ", log.level warn", level: "warn"},
		{name: first + ", token assertion", route: "token: assertion"},
	} {
		if more.store, err = r.store(first); err != nil {
			return nil, err
		}
		wanted = append(wanted, more)
	}
	for _, g := range wanted {
		g.address = r.take()
		t, err := r.start(ctx, g)
		if err != nil {
			return nil, err
		}
		cookie, err := r.signIn(ctx, t, "alice")
		if err != nil {
			return nil, err
		}
		t.cookies = []string{cookie}
		targets = append(targets, t)
	}
	return append([]*target{r.roomy}, targets...), nil
}

// interleave loads the targets in turn, each right after the reverse proxy, since a
// shared machine is faster at one minute than at the next.
func (r *rig) interleave(ctx context.Context, targets []*target) (map[string][]round, error) {
	rounds := map[string][]round{}
	for i := range r.rounds + 1 {
		for _, t := range targets {
			if err := t.callOnce(ctx); err != nil {
				return nil, err
			}
			plain, err := r.once(ctx, r.plain)
			if err != nil {
				return nil, err
			}
			one, err := r.once(ctx, t)
			if err != nil {
				return nil, err
			}
			if i == 0 { // warms up
				continue
			}
			if plain.cpu > 0 {
				one.ratio = float64(one.cpu) / float64(plain.cpu)
			}
			rounds[r.plain.name] = append(rounds[r.plain.name], plain)
			rounds[t.name] = append(rounds[t.name], one)
		}
	}
	return rounds, nil
}

// once is one load of one target.
func (r *rig) once(ctx context.Context, t *target) (round, error) {
	before, err := t.used()
	if err != nil {
		return round{}, err
	}
	got, err := r.load.run(ctx, load{url: t.base + t.path, cookies: t.cookies, first: t.next, length: r.seconds})
	if err != nil {
		return round{}, err
	}
	after, err := t.used()
	if err != nil {
		return round{}, err
	}
	if got.Requests == 0 {
		return round{}, fmt.Errorf("%s answers nothing\n%s", t.name, t.tail())
	}
	t.next += got.Requests
	r.failed += got.Failed
	return round{result: got, cpu: (after.cpu - before.cpu) / time.Duration(got.Requests)}, nil
}

// figures are the medians of some rounds, and the extremes of their ratio.
type figures struct {
	calls, cpu, p50, p99 float64 // a second, µs, ms, ms
	ratio                string
	failed               int
}

func summary(rounds []round) (f figures) {
	of := func(value func(round) float64) []float64 {
		var all []float64
		for _, one := range rounds {
			all = append(all, value(one))
		}
		slices.Sort(all)
		return all
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	f.ratio = "1"
	if ratios := of(func(one round) float64 { return one.ratio }); ratios[0] > 0 {
		f.ratio = fmt.Sprintf("%.2f (%.2f..%.2f)", median(ratios), ratios[0], ratios[len(ratios)-1])
	}
	for _, one := range rounds {
		f.failed += one.Failed
	}
	f.calls = median(of(func(one round) float64 { return float64(one.Requests) / one.Elapsed.Seconds() }))
	f.cpu = median(of(func(one round) float64 { return float64(one.cpu) / float64(time.Microsecond) }))
	f.p50, f.p99 = median(of(func(one round) float64 { return ms(one.P50) })), median(of(func(one round) float64 { return ms(one.P99) }))
	return f
}

// table prints the figures of one target.
func (r *rig) table(name string, rounds []round) {
	if name == r.plain.name {
		r.say("%-30s %9s %9s %22s %8s %8s %7s", "server", "calls/s", "CPU µs", "ratio (min..max)", "p50 ms", "p99 ms", "failed")
	}
	f := summary(rounds)
	r.say("%-30s %9.0f %9.1f %22s %8.2f %8.2f %7d", name, f.calls, f.cpu, f.ratio, f.p50, f.p99, f.failed)
}
