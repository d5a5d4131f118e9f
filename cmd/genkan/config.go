package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"genkan/internal/config"
)

func configCommand(p *program) *cobra.Command {
	cmd := group("config", "Check and show the settings")
	cmd.AddCommand(
		settingsCommand(p, "check", "Check all settings and say everything that is wrong", p.checkConfig),
		settingsCommand(p, "print", "Show what is in effect and where it was written, secrets masked", p.printConfig),
		leaf("schema", "Print the JSON Schema of a settings file, for editors", cobra.NoArgs, func([]string) error {
			_, err := p.stdout.Write(config.Schema())
			return err
		}),
	)
	return cmd
}

// settingsCommand does something with the settings that its flags name.
func settingsCommand(p *program, use, short string, do func(config.Sources) error) *cobra.Command {
	var src *config.Sources
	cmd := leaf(use, short, cobra.NoArgs, func([]string) error { return do(*src) })
	src = p.sourceFlags(cmd)
	cmd.Flags().BoolVar(&src.Development, "dev", false, "as for genkan dev, with its defaults")
	return cmd
}

func (p *program) checkConfig(src config.Sources) error {
	_, found := config.Load(src)
	printFindings(p.stderr, found)
	if found.Failed() {
		return errFound
	}
	_, err := fmt.Fprintln(p.stdout, "The settings are sound.")
	return err
}

func (p *program) printConfig(src config.Sources) error {
	values, found := config.Effective(src)
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, v := range values {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", v.Key, v.Text, v.From)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printFindings(p.stderr, found)
	if found.Failed() {
		return errFound
	}
	return nil
}
