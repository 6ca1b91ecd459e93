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
	request producer.Request
	model   string
	stream  bool
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
	cmd.Flags().StringVar(&fl.request.Cover, "cover", "", "image that carries")
	cmd.Flags().StringVar(&fl.request.Secret, "secret", "", "image to hide; it is brought to the cover's size")
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

With --stream, JSON lines are read from standard input and one JSON line per request is written in order of
completion: {"id":"1","key":"alice","cover":"c.png","secret":"s.png","out":"stego.png"} for embed,
{"id","key","stego","out"} for recover, {"id","image","out"} for purify. Exit code 1 says that some failed. A model whose
recovery is authenticated refuses a wrong key, and an image that was changed: the reason of the reply is then "refused".`
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.operate(cmd, op, *fl)
	}
	f := cmd.Flags()
	f.StringVarP(&fl.request.Out, "output", "o", "", "PNG file to write")
	f.StringVar(&fl.model, "model", defaultOf(op), "model name or directory")
	fl.register(f, 0, "bring images to this width and height (0: their own; for embed the cover's)")
	f.BoolVar(&fl.stream, "stream", false, "read requests as JSON lines")
	a.patienceFlag(f)
	a.workerFlags(f)
	if op != schemas.Operation_OPERATION_PURIFY {
		a.tenantFlag(f)
	}
	return &cmd
}

// defaultOf is the model of an operation that names none.
func defaultOf(op schemas.Operation) string {
	if op == schemas.Operation_OPERATION_PURIFY {
		return defaultModel
	}
	return sealedModel
}

// complete says which flag a single request lacks.
func (fl *operationFlags) complete(op schemas.Operation) error {
	if fl.stream {
		return nil
	}
	r := fl.request
	needs := [][2]string{{"--output", r.Out}}
	switch op {
	case schemas.Operation_OPERATION_EMBED:
		needs = append(needs, [2]string{"--cover", r.Cover}, [2]string{"--secret", r.Secret})
	case schemas.Operation_OPERATION_RECOVER:
		needs = append(needs, [2]string{"--stego", r.Stego})
	}
	for _, need := range needs {
		if flag, value := need[0], need[1]; value == "" {
			return fmt.Errorf("%s is missing: name a file, or use --stream", flag)
		}
	}
	return nil
}

func (a *app) operate(cmd *cobra.Command, op schemas.Operation, fl operationFlags) (err error) {
	ctx := cmd.Context()
	req := &pipeline.OperationRequest{Operation: op}
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
	s := pipeline.New(a.options())
	defer func() { err = errors.Join(err, s.Close()) }()
	if fl.stream {
		failed, err := s.Stream(ctx, req, cmd.InOrStdin(), cmd.OutOrStdout())
		if err == nil && failed > 0 {
			err = fmt.Errorf("%w: %d requests; their replies say why", reports.ErrSomeFailed, failed)
		}
		return err
	}
	if op != schemas.Operation_OPERATION_PURIFY {
		// Before anything is opened or written.
		if _, err := req.Key(fl.request.Key); err != nil {
			return err
		}
	}
	fl.request.ID = op.Token()
	reply, err := s.One(ctx, req, fl.request)
	switch {
	case err != nil || reply.OK:
		return err
	case reply.Reason == string(schemas.ReasonBadMessage):
		return errors.New(reply.Error)
	case reply.Reason == string(schemas.EndRefused):
		return fmt.Errorf("%w: %s", errRefused, reply.Error)
	}
	return fmt.Errorf("%w: %s: %s", reports.ErrSomeFailed, reply.Reason, reply.Error)
}
