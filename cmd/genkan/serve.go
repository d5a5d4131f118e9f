package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"genkan/internal/app"
	"genkan/internal/config"
	"genkan/internal/telemetry"
)

func serveCommand(p *program) *cobra.Command {
	var src *config.Sources
	cmd := leaf("serve", "Run the backend-for-frontend", cobra.NoArgs, func([]string) error { return p.serve(*src) })
	cmd.Long = `Run the backend-for-frontend.

It does not start with a wrong setting, and says all that are wrong. It ends on
Ctrl-C or SIGTERM, after the requests under way. On SIGHUP it reads the session
keys again.`
	src = p.sourceFlags(cmd)
	return cmd
}

func devCommand(p *program) *cobra.Command {
	var src *config.Sources
	cmd := leaf("dev", "Run with defaults for development on this machine", cobra.NoArgs, func([]string) error {
		src.Development = true
		return p.serve(*src)
	})
	cmd.Long = `Run with defaults for development on this machine.

Where nothing else is set: the app at http://localhost:5173, a session key kept
in .genkan/session.key, the development provider http://127.0.0.1:9000, and the
upstream /api/demo/ at http://127.0.0.1:9100/. scripts/dev starts all of them.
Public URLs must be on this machine.`
	src = p.sourceFlags(cmd)
	return cmd
}

// serve runs until it is told to stop. With any wrong setting it does not start.
func (p *program) serve(src config.Sources) error {
	settings, found := config.Load(src)
	printFindings(p.stderr, found)
	if settings == nil {
		return errFound
	}
	out := p.stderr
	if !terminal(out) {
		lines := telemetry.NewBuffer(out)
		defer lines.Close()
		out = lines
	}
	log := telemetry.New(out, telemetry.Options{
		Level: settings.Log.Level, Format: settings.Log.Format, Terminal: terminal(p.stderr),
	})
	ends, hangUp := []os.Signal{os.Interrupt, syscall.SIGTERM}, make(chan os.Signal, 1)
	if src.Development { // the terminal was closed
		ends = append(ends, syscall.SIGHUP)
	} else {
		signal.Notify(hangUp, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	a, err := app.New(ctx, settings, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := a.Close(); err != nil {
			log.Warn("store not closed", "error", err)
		}
	}()
	go func() {
		for range hangUp {
			a.ReloadKeys()
		}
	}()
	return a.Run(ctx)
}

// terminal reports whether a person is at the other end of stream.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
