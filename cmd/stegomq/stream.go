package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/producer"
	"stegomq/schemas"
)

// operationFlags are the flags of embed, recover and purify.
type operationFlags struct {
	request producer.Request
	model   string
	size    int
	resize  string
	stream  bool
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
		return a.operate(cmd.Context(), op, *fl, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	f := cmd.Flags()
	f.StringVarP(&fl.request.Out, "output", "o", "", "PNG file to write")
	f.StringVar(&fl.model, "model", defaultOf(op), "model name or directory")
	f.IntVar(&fl.size, "size", 0, "bring images to this width and height (0: their own; for embed the cover's)")
	f.StringVar(&fl.resize, "resize", "squash", "squash or crop")
	f.BoolVar(&fl.stream, "stream", false, "read requests as JSON lines")
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

func (a *app) operate(ctx context.Context, op schemas.Operation, fl operationFlags, in io.Reader, out io.Writer) (err error) {
	geometry, err := geometryOf(fl.size, fl.resize)
	if err != nil {
		return err
	}
	if err := fl.complete(op); err != nil {
		return err
	}
	m, err := a.loadModel(fl.model)
	if err != nil {
		return err
	}
	if !m.Manifest.Does(model.Operation(op.Token())) {
		return fmt.Errorf("%s: the model %s has no such operation: it can %s; choose another --model", op.Token(), m.Name, operationsOf(m))
	}
	keys, err := a.watchKeys([]*model.Model{m})
	if err != nil {
		return err
	}
	keyOf := func(id string) (*schemas.KeyRef, error) {
		ring, err := keys.Now()
		if err != nil {
			return nil, err
		}
		return usableKey(op, m, ring, id)
	}
	if !fl.stream && op != schemas.Operation_OPERATION_PURIFY {
		// Before anything is opened or written.
		if _, err := keyOf(fl.request.Key); err != nil {
			return err
		}
	}
	// Without external servers the worker runs in this process; a missing library shows first.
	var eng *localEngine
	if a.at.NATS == "" {
		if eng, err = a.newEngine([]*model.Model{m}, keys); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
	}
	s := &services{app: a}
	if a.at.Tenant == "" { // a tenant has no Redis
		if s, err = a.open(ctx, ""); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.openBus(ctx, ""); err != nil {
		return err
	}
	run := "stream-" + randomToken() + randomToken()
	r := startRoles(ctx)
	defer func() { err = errors.Join(err, r.stop()) }()
	if eng != nil {
		if err := s.startWorker(r, eng, nil, run, m.Digest); err != nil {
			return err
		}
	}
	replies := out
	var single bytes.Buffer
	if !fl.stream {
		replies = &single
	}
	stream := producer.NewStream(producer.StreamConfig{
		Operation: op, Model: m.Digest, Geometry: geometry, Run: run, Tenant: a.at.Tenant,
		Limits: a.limits(), Logger: a.log,
	}, producer.StreamParts{Publisher: s.bus, Blobs: s.blobs, Results: s.bus, Key: keyOf}, replies)
	if fl.stream {
		failed, err := stream.Run(r.ctx, in)
		if err == nil && failed > 0 {
			err = fmt.Errorf("%w: %d requests; their replies say why", errSomeFailed, failed)
		}
		return err
	}
	fl.request.ID = op.Token()
	if _, err := stream.One(r.ctx, fl.request); err != nil {
		return err
	}
	var reply producer.Reply
	if err := json.Unmarshal(single.Bytes(), &reply); err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	switch {
	case reply.OK:
		return nil
	case reply.Reason == string(schemas.ReasonBadMessage):
		return errors.New(reply.Error)
	case reply.Reason == string(schemas.EndRefused):
		return fmt.Errorf("%w: %s", errRefused, reply.Error)
	}
	return fmt.Errorf("%w: %s: %s", errSomeFailed, reply.Reason, reply.Error)
}

// usableKey finds a key that the model can work with.
func usableKey(op schemas.Operation, m *model.Model, ring *keyring.Keyring, id string) (*schemas.KeyRef, error) {
	if id == "" {
		return nil, errors.New("no key is named: give --key ID (stegomq keys list shows yours)")
	}
	pair, err := ring.Get(id)
	if err != nil {
		return nil, fmt.Errorf("%w; the keys of model %s are %s", err, m.Name, trainedKeys(m))
	}
	if op == schemas.Operation_OPERATION_RECOVER && pair.Recover.IsZero() {
		return nil, fmt.Errorf("recover with key %s: %w; its owner has the other", id, keyring.ErrEmbedOnly)
	}
	if hasVariants(m) && !trainedWith(m, pair) {
		return nil, fmt.Errorf("model %s has a network for each of its keys and none for %s: its keys are %s", m.Name, id, trainedKeys(m))
	}
	if !keyring.Derived(id) && m.Trained() && !trainedWith(m, pair) {
		return nil, fmt.Errorf("model %s was not trained with key %s, so it would neither hide nor protect anything: its keys are %s",
			m.Name, id, trainedKeys(m))
	}
	return keyRef(pair), nil
}

func trainedKeys(m *model.Model) string {
	names := ""
	for i, k := range m.Keys() {
		if i > 0 {
			names += ", "
		}
		names += k.ID
	}
	return names
}

// operationsOf lists what the model does.
func operationsOf(m *model.Model) string {
	var words []string
	for _, op := range model.Operations() {
		if m.Manifest.Does(op) {
			words = append(words, string(op))
		}
	}
	return strings.Join(words, ", ")
}
