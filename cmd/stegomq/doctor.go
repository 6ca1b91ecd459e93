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
			words := map[pipeline.Level]string{pipeline.Warning: "WARNING: ", pipeline.Problem: "PROBLEM: "}
			counts := make(map[pipeline.Level]int)
			say := func(part, text string) { _, _ = fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s\n", part, text) }
			for _, found := range pipeline.Examine(cmd.Context(), a.options(), a.library()) {
				counts[found.Level]++
				say(found.Part, words[found.Level]+found.Text)
			}
			problems, warnings := counts[pipeline.Problem], counts[pipeline.Warning]
			switch {
			case problems > 0:
				say("verdict", fmt.Sprintf("problems: %d, warnings: %d", problems, warnings))
				return fmt.Errorf("%w: problems: %d; the lines above say what to do", errUnwell, problems)
			case warnings > 0:
				say("verdict", fmt.Sprintf("it works, with warnings: %d", warnings))
			default:
				say("verdict", "all is well")
			}
			return nil
		},
	}
	a.workerFlags(cmd.Flags())
	return cmd
}
