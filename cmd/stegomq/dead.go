package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/bus"
	"stegomq/schemas"
)

func (a *app) deadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "List, show, retry and drop dead letters"}
	a.busFlags(cmd.PersistentFlags())
	var reason string
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List dead letters, the newest last", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withBus(cmd.Context(), func(ctx context.Context, b *bus.Bus) error {
				entries, err := b.ListDead(ctx, schemas.Reason(reason), limit)
				if err != nil {
					return err
				}
				w := newTable(cmd, "number", "died", "reason", "subject", "deliveries", "detail")
				for _, e := range entries {
					l := e.Letter
					w.AppendRow(table.Row{e.Seq, time.UnixMilli(l.GetDiedAt()).Format(time.DateTime), l.GetReason(), l.GetSubject(), l.GetDeliveries(), l.GetDetail()})
				}
				w.Render()
				return nil
			})
		},
	}
	list.Flags().StringVar(&reason, "reason", "", "only those with this reason")
	list.Flags().IntVar(&limit, "limit", 100, "at most so many")
	show := &cobra.Command{
		Use: "show NUMBER", Short: "Print a dead letter and the message in it as JSON", Args: cobra.ExactArgs(1),
		RunE: a.onLetters(func(ctx context.Context, cmd *cobra.Command, b *bus.Bus, seq uint64) error {
			letter, err := b.GetDead(ctx, seq)
			if err != nil {
				return err
			}
			message := letter.GetMessage()
			letter.Message = nil
			if err := printMessage(cmd, letter); err != nil {
				return err
			}
			if job, err := schemas.DecodeJob(message); err == nil {
				return printMessage(cmd, job)
			}
			if result, err := schemas.DecodeResult(message); err == nil {
				return printMessage(cmd, result)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%q\n", message)
			return err
		}),
	}
	retry := &cobra.Command{
		Use: "retry NUMBER...", Short: "Send the messages of dead letters again", Args: cobra.MinimumNArgs(1),
		RunE: a.onLetters(func(ctx context.Context, _ *cobra.Command, b *bus.Bus, seq uint64) error {
			return b.RetryDead(ctx, seq)
		}),
	}
	drop := &cobra.Command{
		Use: "drop NUMBER...", Short: "Delete dead letters", Args: cobra.MinimumNArgs(1),
		RunE: a.onLetters(func(ctx context.Context, _ *cobra.Command, b *bus.Bus, seq uint64) error { return b.DropDead(ctx, seq) }),
	}
	cmd.AddCommand(list, show, retry, drop)
	return cmd
}

// onLetters calls f for every number that is given.
func (a *app) onLetters(f func(ctx context.Context, cmd *cobra.Command, b *bus.Bus, seq uint64) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.withBus(cmd.Context(), func(ctx context.Context, b *bus.Bus) error {
			for _, arg := range args {
				seq, err := strconv.ParseUint(arg, 10, 64)
				if err != nil {
					return fmt.Errorf("%q is not the number of a dead letter (stegomq dead list shows them)", arg)
				}
				if err := f(ctx, cmd, b, seq); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// withBus calls f with the message queue alone.
func (a *app) withBus(ctx context.Context, f func(context.Context, *bus.Bus) error) (err error) {
	s := &services{app: a}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.openBus(ctx, ""); err != nil {
		return err
	}
	return f(ctx, s.bus)
}

func printMessage(cmd *cobra.Command, m proto.Message) error {
	data, err := protojson.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), string(data))
	return err
}

func (a *app) tailCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail [FILTER]",
		Short: "Print jobs, results and dead letters as they are sent, one line of JSON each",
		Long: `Prints what is sent from now on until Ctrl-C. FILTER is a NATS subject with wildcards under job., result. or
dead., such as job.embed.> or result.*.RUN.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.at.NATS == "" {
				return errNeedServers
			}
			filter := ""
			if len(args) == 1 {
				filter = args[0]
			}
			err := a.withBus(cmd.Context(), func(ctx context.Context, b *bus.Bus) error {
				return b.Tail(ctx, filter, func(subject string, m proto.Message, data []byte) error {
					text := fmt.Appendf(nil, "%q", data)
					if m != nil {
						var err error
						if text, err = protojson.Marshal(m); err != nil {
							return err
						}
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", subject, text)
					return err
				})
			})
			if errors.Is(err, context.Canceled) {
				return nil // Ctrl-C is how a tail ends
			}
			return err
		},
	}
	a.busFlags(cmd.Flags())
	return cmd
}
