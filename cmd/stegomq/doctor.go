package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"stegomq/pipeline"
)

// doctorCommand says what is wrong with everything that a pipeline needs, rather than stopping at the first.
func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the library, the models, the keys, the servers and the disk", Args: cobra.NoArgs,
		Long: `Checks the library, the models, the keys, the servers and the disk, creates nothing, and ends with a verdict. Exit code 1 says
that something is wrong; a warning alone does not.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			say := func(part, text string) { _, _ = fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s\n", part, text) }
			findings := pipeline.Examine(cmd.Context(), a.options(), a.library())
			for _, found := range findings {
				say(found.Part, found.String())
			}
			verdict, problems := pipeline.Verdict(findings)
			say("verdict", verdict)
			if problems > 0 {
				return fmt.Errorf("%w: problems: %d; the lines above say what to do", errUnwell, problems)
			}
			return nil
		},
	}
	a.workerFlags(cmd.Flags())
	return cmd
}
