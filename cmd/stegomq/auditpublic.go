package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"stegomq/pipeline/reports"
)

func (a *app) auditPublicCommand() *cobra.Command {
	var name, folder string
	cmd := &cobra.Command{
		Use:   "public --model MODEL --images FOLDER",
		Short: "Write what anybody can compute from stego images without a key, for an attacker",
		Long: `Reads the stego images in FOLDER/stego, and writes to FOLDER/public a file NAME.npy of each, float32. That is for the
attacker of ` + "`python -m trainer decode`" + `, which takes it as input beside the image. Of a modulo model it is the rotated secret,
768 x height/16 x width/16: what the receiver has before his key turns it back. FOLDER is the folder images of a
run of ` + "`stegomq evaluate --save-images`" + `.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := a.loadModel(name)
			if err != nil {
				return err
			}
			n, out, err := reports.WritePublic(m, folder)
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d arrays\n", out, n)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "model", "modulo", "model name or directory")
	f.StringVar(&folder, "images", "", "folder that has stego (required)")
	must(cmd.MarkFlagRequired("images"))
	return cmd
}
