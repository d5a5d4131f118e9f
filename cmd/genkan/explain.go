package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"genkan/internal/config"
	"genkan/internal/finding"
)

func explainCommand(p *program) *cobra.Command {
	cmd := &cobra.Command{Use: "explain CODE", Short: "Explain a code such as GK103, or a name such as csrf", Args: oneCode}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		row, ok := finding.Lookup(args[0])
		if !ok {
			var words []string
			for _, r := range finding.Rows() {
				words = append(words, r.Code, r.Name)
			}
			return fmt.Errorf("there is no code %q; the nearest is %s", args[0], config.Nearest(args[0], words))
		}
		if err := p.explain(row); err != nil {
			return failure{err}
		}
		return nil
	}
	return cmd
}

func oneCode(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give one code, for example GK103")
	}
	return nil
}

func (p *program) explain(r finding.Row) error {
	status := ""
	if r.Status != 0 {
		status = fmt.Sprintf(", HTTP %d", r.Status)
	}
	_, err := fmt.Fprintf(p.stdout, "%s %s (%s%s)\n\n%s\n\n%s\n\nfix: %s\n", r.Code, r.Name, r.Severity, status, r.Title, r.Cause, r.Fix)
	return err
}
