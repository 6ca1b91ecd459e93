package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"stegomq/pipeline"
	"stegomq/pipeline/reports"
	"stegomq/producer"
	"stegomq/schemas"
)

// operationFlags are the flags of embed, recover and purify.
type operationFlags struct {
	request  producer.Request
	model    string
	stream   bool
	minPSNR  float64
	noVerify bool
	geometryFlags
}

func (a *app) embedCommand() *cobra.Command {
	var fl operationFlags
	cmd := a.operationCommand(&fl, schemas.Operation_OPERATION_EMBED, cobra.Command{
		Use:   "embed --key ID --cover FILE --secret FILE -o STEGO.png",
		Short: "Hide a secret image in a cover image with a key",
		Args:  cobra.NoArgs,
	})
	cmd.Flags().StringVar(&fl.request.Key, "key", "", "key id")
	f := cmd.Flags()
	f.StringVar(&fl.request.Cover, "cover", "", "image that carries")
	f.StringVar(&fl.request.Secret, "secret", "", "image to hide; it is brought to the cover's size")
	f.Float64Var(&fl.minPSNR, "min-psnr", 0, "recover what was hidden, and write nothing if it comes back worse than this, dB (exit code 4)")
	f.BoolVar(&fl.noVerify, "no-verify", false, "do not recover what was hidden to warn if it comes back badly; with --stream, and with servers on other machines, only --min-psnr recovers")
	return cmd
}

func (a *app) recoverCommand() *cobra.Command {
	var fl operationFlags
	cmd := a.operationCommand(&fl, schemas.Operation_OPERATION_RECOVER, cobra.Command{
		Use:   "recover --key ID --stego FILE -o SECRET.png",
		Short: "Recover the secret image from a stego image with a key",
		Args:  cobra.NoArgs,
	})
	cmd.Flags().StringVar(&fl.request.Key, "key", "", "key id")
	cmd.Flags().StringVar(&fl.request.Stego, "stego", "", "image that holds a secret, in a lossless format")
	return cmd
}

func (a *app) purifyCommand() *cobra.Command {
	var fl operationFlags
	return a.operationCommand(&fl, schemas.Operation_OPERATION_PURIFY, cobra.Command{
		Use:   "purify FILE -o FILE.png",
		Short: "Take noise off an image",
		Args: func(_ *cobra.Command, args []string) error {
			if fl.stream && len(args) > 0 || !fl.stream && len(args) != 1 {
				return errors.New("name one image file, or use --stream")
			}
			if len(args) == 1 {
				fl.request.Image = args[0]
			}
			return nil
		},
	})
}

func (a *app) operationCommand(fl *operationFlags, op schemas.Operation, cmd cobra.Command) *cobra.Command {
	cmd.Long = cmd.Short + `.

A file named - is standard input or output. With --stream, requests are read as JSON lines from standard input, and one JSON line per request is
written in order of completion: {"id":"1","key":"alice","cover":"c.png","secret":"s.png","out":"stego.png"} for embed,
{"id","key","stego","out"} for recover, {"id","image","out"} for purify. Exit code 1 says that some failed. A model whose recovery is authenticated
refuses a wrong key and a changed image: the reason of the reply is then "refused".`
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.operate(cmd, op, *fl)
	}
	f := cmd.Flags()
	f.StringVarP(&fl.request.Out, "output", "o", "", "PNG file to write, or - for standard output")
	f.StringVar(&fl.model, "model", defaultOf(op), "model name or directory")
	fl.register(f, 0, "bring images to this width and height (0: their own; for embed the cover's)")
	f.BoolVar(&fl.stream, "stream", false, "read requests as JSON lines")
	a.patienceFlag(f)
	a.workerFlags(f)
	if op.Describe().Key != "" {
		a.tenantFlag(f)
	}
	return &cmd
}

// defaultOf names the model of an operation for which --model names none.
func defaultOf(op schemas.Operation) string {
	if op.Describe().Key == "" {
		return defaultModel
	}
	return sealedModel
}

// complete finds flags that contradict each other, and what a single request lacks.
func (fl *operationFlags) complete(op schemas.Operation) error {
	switch {
	case fl.noVerify && fl.minPSNR != 0:
		return errors.New("--no-verify and --min-psnr exclude each other: leave one out")
	case fl.stream:
		return nil
	case fl.request.Out == "":
		return errors.New("--output is missing: name a file, or use --stream")
	}
	if err := fl.request.Check(op); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

func (a *app) operate(cmd *cobra.Command, op schemas.Operation, fl operationFlags) (err error) {
	// A worker on this machine has the keys of this command, and can recover. A stream does not pay for a check that it did not ask for.
	req := &pipeline.OperationRequest{Operation: op, MinPSNR: fl.minPSNR, Verify: !fl.stream && !fl.noVerify && a.at.Local()}
	if req.Geometry, err = fl.geometry(); err != nil {
		return err
	}
	if err := fl.complete(op); err != nil {
		return err
	}
	if req.Model, err = a.loadModel(fl.model); err != nil {
		return err
	}
	if err := asFlag(req.Check()); err != nil {
		return err
	}
	if req.Keys, err = a.library().WatchKeys(req.Model); err != nil {
		return err
	}
	if !fl.stream && op.Describe().Key != "" {
		// Before anything is opened or written.
		if err := req.CheckKey(fl.request.Key); err != nil {
			return err
		}
	}
	return a.withServices(func(s *pipeline.Services) error {
		if fl.stream {
			failed, err := s.Stream(cmd.Context(), req, cmd.InOrStdin(), cmd.OutOrStdout())
			if err == nil && failed > 0 {
				err = fmt.Errorf("%w: %d requests; their replies say why", reports.ErrSomeFailed, failed)
			}
			return err
		}
		fl.request.ID = op.Token()
		reply, err := s.One(cmd.Context(), req, fl.request, cmd.InOrStdin(), cmd.OutOrStdout())
		for _, warning := range reply.Warnings {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "stegomq: warning: %s\n", warning)
		}
		if err != nil {
			return err
		}
		return reply.Err()
	})
}
