package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"genkan/internal/config"
)

// program is what every command is given of the process.
type program struct {
	environ        []string
	stdout, stderr io.Writer
}

// Exit codes.
const (
	exitOK      = 0
	exitProblem = 1
	exitUsage   = 2
)

// failure is an error of a command that was used rightly.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// errFound says that findings were printed, and that there is nothing to add.
var errFound = errors.New("problems were found")

// run is main without the process: it returns the exit code.
func run(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand(&program{environ, stdout, stderr})
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	called, err := root.ExecuteC()
	var problem failure
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitProblem
	case errors.As(err, &problem):
		_, _ = fmt.Fprintln(stderr, "genkan:", problem)
		return exitProblem
	}
	_, _ = fmt.Fprintf(stderr, "genkan: %s\nSee: %s -h\n", strings.TrimSpace(err.Error()), called.CommandPath())
	return exitUsage
}

func rootCommand(p *program) *cobra.Command {
	root := group("genkan", "Sign users in by OpenID Connect; keep their tokens on the server")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		serveCommand(p),
		devCommand(p),
		configCommand(p),
		keysCommand(p),
		sessionsCommand(p),
		explainCommand(p),
		versionCommand(p),
	)
	return root
}

// group is a command that only has others below it.
func group(use, short string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		if len(args) == 0 {
			return fmt.Errorf("a command is missing: %s", strings.Join(names, ", "))
		}
		return fmt.Errorf("unknown command %q; the nearest is %s", args[0], config.Nearest(args[0], names))
	}}
}

// leaf is a command that does something. An error of do is no usage error.
func leaf(use, short string, args cobra.PositionalArgs, do func(args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(_ *cobra.Command, args []string) error {
		if err := do(args); err != nil {
			return failure{err}
		}
		return nil
	}}
}

// sourceFlags adds the flags that say where settings come from. The result is
// complete when the command runs.
func (p *program) sourceFlags(cmd *cobra.Command) *config.Sources {
	src := &config.Sources{Environ: p.environ}
	flags := cmd.PersistentFlags()
	flags.StringArrayVar(&src.Files, "config", nil, "settings `FILE`; repeat for more, later wins (default config/genkan.yaml)")
	flags.StringVar(&src.EnvFile, "env-file", "", "`FILE` of environment variables (default .env)")
	return src
}
