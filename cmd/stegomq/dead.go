package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/queueadmin"
	"stegomq/pipeline"
)

func (a *app) deadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "List, show, retry and drop dead letters"}
	a.busFlags(cmd.PersistentFlags())
	var filter deadFilter
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List dead letters, the newest last", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withBus(cmd.Context(), func(s *pipeline.Services) error {
				rows, err := pipeline.DeadRows(cmd.Context(), s.Queue, filter.DeadFilter)
				if err != nil {
					return err
				}
				return printRows(cmd, rows, asJSON, func(r pipeline.DeadRow) table.Row {
					return table.Row{r.Number, r.Died.Format(time.DateTime), r.Reason, r.Subject, r.Deliveries, r.Detail}
				}, "number", "died", "reason", "subject", "deliveries", "detail")
			})
		},
	}
	filter.register(list.Flags())
	list.Flags().IntVar(&filter.Limit, "limit", 100, "largest number of dead letters to list")
	jsonFlag(list, &asJSON)
	show := &cobra.Command{
		Use: "show NUMBER", Short: "Print a dead letter and the message in it as JSON", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers, err := numbersOf(args)
			if err != nil {
				return err
			}
			return a.withBus(cmd.Context(), func(s *pipeline.Services) error {
				letter, message, data, err := pipeline.DeadLetter(cmd.Context(), s.Queue, numbers[0])
				if err != nil {
					return err
				}
				lines := protojson.MarshalOptions{Multiline: true}
				if err := printMessage(cmd, lines, "", letter, nil); err != nil {
					return err
				}
				return printMessage(cmd, lines, "", message, data)
			})
		},
	}
	retry := a.lettersCommand("retry", "Send the messages of dead letters again", (*queueadmin.Admin).RetryDead)
	drop := a.lettersCommand("drop", "Delete dead letters", (*queueadmin.Admin).DropDead)
	cmd.AddCommand(list, show, retry, drop)
	return cmd
}

// deadFilter has the flags that select dead letters.
type deadFilter struct {
	pipeline.DeadFilter
	all bool
}

func (d *deadFilter) register(f *pflag.FlagSet) {
	f.StringVar((*string)(&d.Reason), "reason", "", "dead letters with this reason alone")
	f.StringVar(&d.Run, "run", "", "dead letters of this run alone")
}

// lettersCommand does something with the dead letters whose numbers are given, or that the flags select.
func (a *app) lettersCommand(verb, short string, do func(*queueadmin.Admin, context.Context, uint64) error) *cobra.Command {
	var filter deadFilter
	cmd := &cobra.Command{
		Use: verb + " NUMBER... | --all | --reason R | --run ID", Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			selected := filter.all || filter.Reason != "" || filter.Run != ""
			if selected == (len(args) > 0) {
				return errors.New("give the numbers of dead letters (stegomq dead list shows them), or one of --all, --reason and --run")
			}
			numbers, err := numbersOf(args)
			if err != nil {
				return err
			}
			return a.withBus(cmd.Context(), func(s *pipeline.Services) error {
				if selected {
					rows, err := pipeline.DeadRows(cmd.Context(), s.Queue, filter.DeadFilter)
					if err != nil {
						return err
					}
					for _, r := range rows {
						numbers = append(numbers, r.Number)
					}
				}
				for _, number := range numbers {
					if err := do(s.Queue, cmd.Context(), number); err != nil {
						return err
					}
				}
				if selected {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d dead letters\n", len(numbers))
				}
				return err
			})
		},
	}
	filter.register(cmd.Flags())
	cmd.Flags().BoolVar(&filter.all, "all", false, "all of them")
	return cmd
}

func numbersOf(args []string) (numbers []uint64, err error) {
	for _, arg := range args {
		seq, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not the number of a dead letter (stegomq dead list shows them)", arg)
		}
		numbers = append(numbers, seq)
	}
	return numbers, nil
}

// printMessage prints a message as JSON, or its bytes, quoted, where m is nil.
func printMessage(cmd *cobra.Command, o protojson.MarshalOptions, before string, m proto.Message, data []byte) (err error) {
	text := fmt.Appendf(nil, "%q", data)
	if m != nil {
		if text, err = o.Marshal(m); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), shown(before+string(text)))
	return err
}

// passed is a message as tail --json prints it.
type passed struct {
	Subject string          `json:"subject"`
	Message json.RawMessage `json:"message,omitempty"`
	Bytes   []byte          `json:"bytes,omitempty"`
}

func printLine(cmd *cobra.Command, subject string, m proto.Message, data []byte) (err error) {
	line := passed{Subject: subject, Bytes: data}
	if m != nil {
		line.Bytes = nil
		if line.Message, err = protojson.Marshal(m); err != nil {
			return err
		}
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(line)
}

func (a *app) tailCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tail [FILTER]",
		Short: "Print jobs, results and dead letters as they are sent, one line of JSON each",
		Long: `Prints the messages that are sent from now on, until Ctrl-C. FILTER is a NATS subject with wildcards under job., score., result. or
dead., such as job.interactive.> or score.*.RUN. With --json each line is one object with subject and message. Where the bytes are no message of
stegomq, the object has subject and bytes (base64).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.at.Embedded() {
				return errNeedServers
			}
			filter := ""
			if len(args) == 1 {
				filter = args[0]
			}
			err := a.withBus(cmd.Context(), func(s *pipeline.Services) error {
				return s.Queue.Tail(cmd.Context(), filter, func(subject string, m proto.Message, data []byte) error {
					if asJSON {
						return printLine(cmd, subject, m, data)
					}
					return printMessage(cmd, protojson.MarshalOptions{}, subject+" ", m, data)
				})
			})
			if errors.Is(err, context.Canceled) {
				return nil // Ctrl-C is how a tail ends
			}
			return err
		},
	}
	group(groupMade, cmd.Flags(), func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "print one object a line, for jq")
	})
	a.timeoutFlag(cmd.Flags())
	a.busFlags(cmd.Flags())
	return cmd
}
