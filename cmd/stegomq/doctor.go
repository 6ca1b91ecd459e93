package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"stegomq/pipeline"
)

// examined is what doctor found, as JSON.
type examined struct {
	Findings []pipeline.Finding `json:"findings"`
	Verdict  string             `json:"verdict"`
	Problems int                `json:"problems"`
}

// doctorCommand says what is wrong with everything that a pipeline needs, rather than stopping at the first.
func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the library, the models, the keys, the servers and the disk", Args: cobra.NoArgs,
		Long: `Checks the library, the models, the keys, the servers and the disk, creates nothing, and ends with a verdict. Exit code 1 says
that something is wrong; a warning alone does not.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := pipeline.Examine(cmd.Context(), a.options(), a.library())
			if a.context != "" {
				findings = slices.Insert(findings, 0, pipeline.Finding{Part: "context", Text: a.context})
			}
			verdict, problems := pipeline.Verdict(findings)
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), examined{findings, verdict, problems}); err != nil {
					return err
				}
			} else {
				for _, found := range append(findings, pipeline.Finding{Part: "verdict", Text: verdict}) {
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s\n", found.Part, found)
				}
			}
			if problems > 0 {
				return fmt.Errorf("%w: problems: %d; the lines above say what to do", errUnwell, problems)
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	a.timeoutFlag(cmd.Flags())
	a.workerFlags(cmd.Flags())
	return cmd
}
