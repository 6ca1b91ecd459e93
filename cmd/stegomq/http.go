package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/service"
)

// httpFlags are the flags of commands that serve HTTP.
type httpFlags struct {
	service.Config
	maxBodyMiB, maxMpx int64
}

func (h *httpFlags) register(f *pflag.FlagSet, address, usage string) {
	f.StringVar(&h.Address, "http", address, usage)
	f.StringVar(&h.CertFile, "http-cert", "", "PEM file of the certificate to serve HTTPS with")
	f.StringVar(&h.KeyFile, "http-key", "", "PEM file of its key")
	f.BoolVar(&h.Plain, "http-plain", false, "serve HTTP to other machines without TLS, where a proxy in front of it ends TLS")
	f.Int64Var(&h.maxBodyMiB, "http-max-body", 32, "largest body of a request, MiB")
	f.Int64Var(&h.maxMpx, "http-max-mpx", 16, "largest image of a request, Mi pixels")
	f.IntVar(&h.InFlight, "http-in-flight", 16, "requests with images that are under way at once")
	f.IntVar(&h.PerUser, "http-per-user", 8, "of them, those of one user")
	f.Float64Var(&h.Rate, "http-rate", 0, "requests of one user in a second (0: no bound)")
	f.StringToStringVar(&h.Datasets, "datasets", nil, "a data set that users may have runs made on, NAME=PLACE, where PLACE is as for evaluate --data; may be given several times")
	f.IntVar(&h.Runs, "http-runs", 2, "runs that are made at once")
	f.BoolVar(&h.TrustTraceparent, "http-trust-traceparent", false, "go on in the trace that the header traceparent of a request names; only where a gateway of yours sets that header (docs/tracing.md)")
	f.DurationVar(&h.Timeout, "http-timeout", time.Minute, "how long a request may take after its body has come")
}

// check converts the units of the flags, and checks the configuration.
func (h *httpFlags) check() error {
	h.MaxBody, h.Images.MaxBytes, h.Images.MaxPixels = h.maxBodyMiB<<20, h.maxBodyMiB<<20, h.maxMpx<<20
	return h.Check()
}

// front makes the HTTP service of this process.
func (a *app) front(h *httpFlags, stderr io.Writer) func(*pipeline.Services, pipeline.Stock) (func(context.Context) error, error) {
	return func(s *pipeline.Services, stock pipeline.Stock) (func(context.Context) error, error) {
		cfg := h.Config
		cfg.DefaultModel, cfg.Logger = defaultOf, a.log
		file := users.In(a.at.State)
		api, err := service.New(cfg, service.Parts{Pipeline: s, Records: s.Cache, Users: file, Stock: stock})
		if err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintf(stderr, "HTTP at %s (the page, and the API)\n", api.URL())
		if !service.Loopback(cfg.Address) {
			return api.Run, nil
		}
		where, token, err := file.Admin()
		if err != nil {
			return nil, err
		}
		if token != "" {
			_, _ = fmt.Fprintf(stderr, "open %s/login#%s in a browser to sign in\n", api.URL(), token)
			_, _ = fmt.Fprintf(stderr, "token %s (the administrator's, shown once; it is in %s, which only you can read)\n", token, where)
		}
		return api.Run, nil
	}
}

func (a *app) serveCommand() *cobra.Command {
	var h httpFlags
	cmd := &cobra.Command{
		Use: "serve --nats URL --redis URL", Short: "Serve the HTTP API in front of the queue (docs/http.md)", Args: cobra.NoArgs,
		Long: `Serve the HTTP API in front of the queue. Workers do the work: stegomq gpuworker. Users are those of stegomq users on the same --state; a service on
loopback makes an administrator, and prints the token once. On one machine, stegomq up --http ADDRESS is everything in one process.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.at.Embedded() {
				return errNeedServers
			}
			if err := h.check(); err != nil {
				return err
			}
			return a.serve(cmd, false, false, &h)
		},
	}
	f := cmd.Flags()
	group(groupHTTP, f, func(f *pflag.FlagSet) { h.register(f, "127.0.0.1:8080", "host:port to serve at") })
	a.serviceFlags(f)
	a.modelFlags(f)
	a.metricsFlag(f)
	return cmd
}
