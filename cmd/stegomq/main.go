// Command stegomq is the one binary of stegomq. Each subcommand is a role of the pipeline, or a task of its user. The package owns flags, exit codes
// and what a person sees, and connects the packages that do the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/link"
	"stegomq/pipeline"
	"stegomq/pipeline/reports"
	"stegomq/producer"
)

// Exit codes. They are part of the interface.
const (
	exitDone        = 0
	exitSomeFailed  = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitLowPSNR     = 4
	exitTimeout     = 124 // as timeout(1) has it
	exitInterrupted = 130
	exitPipe        = 141 // as shells say of a program whose reader has gone
)

// version and revision, that of the source, are set by the build. Where revision is empty, go build has recorded one of its own.
var version, revision = "development", ""

func thisProgram() reports.Program { return reports.ThisProgram(version, revision, os.Args) }

// errUnwell ends doctor where something is wrong. Its output says what.
var errUnwell = errors.New("something is wrong")

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main without the process.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal is a soft stop; with the handler gone, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	// The reader of the output may go away, as head does. What was done is still stored.
	signal.Ignore(syscall.SIGPIPE)

	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if cause := context.Cause(cmd.Context()); errors.Is(err, context.Canceled) && errors.Is(cause, errTimeout) {
		err = cause
	}
	code := exitCode(err)
	switch code {
	case exitDone, exitPipe:
	case exitInterrupted:
		_, _ = fmt.Fprintln(errOut, "stegomq: interrupted"+whatNow(cmd))
	case exitTimeout:
		_, _ = fmt.Fprintf(errOut, "stegomq: %v%s\n", err, whatNow(cmd))
	default:
		_, _ = fmt.Fprintf(errOut, "stegomq: %v\n", err)
	}
	return code
}

// resumed are the commands that store their work as they go. Given again, they continue where they stopped.
var resumed = []string{"evaluate", "paper", "audit", "producer"}

// whatNow ends the message of a command that was stopped.
func whatNow(cmd *cobra.Command) string {
	if slices.Contains(resumed, cmd.Name()) && cmd.Parent() == cmd.Root() {
		return "; the same command resumes"
	}
	return ""
}

// usageError says what is wrong with a flag in the words of users, not of the parser, and where its help is.
func usageError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		flag := invalid.GetFlag()
		kind, known := kinds[flag.Value.Type()]
		if !known {
			kind = invalid.Unwrap().Error()
		}
		err = fmt.Errorf("--%s %q: %s", flag.Name, invalid.GetValue(), kind)
	}
	return fmt.Errorf("%w (%s --help)", err, cmd.CommandPath())
}

// kinds say what values of flags must be, by the names that pflag has for their types.
var kinds = map[string]string{
	"int": "give a whole number", "int64": "give a whole number", "uint": "give a whole number, 0 or more", "uint64": "give a whole number, 0 or more",
	"float64": "give a number", "duration": "give a time with its unit, such as 30s or 5m", "bool": "give true or false",
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, reports.ErrSomeFailed), errors.Is(err, pipeline.ErrCancelled), errors.Is(err, producer.ErrRefused), errors.Is(err, producer.ErrFailed), errors.Is(err, errUnwell):
		return exitSomeFailed
	case errors.Is(err, producer.ErrLowPSNR):
		return exitLowPSNR
	case errors.Is(err, errTimeout):
		return exitTimeout
	case errors.Is(err, syscall.EPIPE):
		return exitPipe
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case pipeline.Away(err), errors.Is(err, pipeline.ErrLost), errors.Is(err, link.ErrDenied), errors.Is(err, link.ErrNoJetStream):
		return exitUnreachable
	}
	return exitUsage
}

func newRoot() *cobra.Command {
	a := &app{modelFolders: pipeline.DefaultModels()} // it looks at folders: once for all commands
	root := &cobra.Command{
		Use:   "stegomq",
		Short: "Multi-user image steganography over a message queue",
		Long: `stegomq hides images in images for many users. Each user has a key; what one user hides, no other user can read. NATS JetStream carries the
jobs to workers, evaluators measure the results, and Redis keeps the scores.

Without --nats and --redis every command runs alone, on servers embedded in the process.
Flags may also be set by environment variables (--ort-lib is STEGOMQ_ORT_LIB) and in a YAML file (--config). stegomq context gives a name to
servers that are used often. Results go to standard output, logs and progress to standard error; --json is for programs.

Exit codes: 0 done, 1 some items failed or something is wrong (it is named), 2 wrong usage or configuration, 3 a needed service cannot be
reached, 4 embed recovered its secret below --min-psnr, 124 --timeout has passed, 130 interrupted.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	a.globalFlags(root)
	root.SetUsageFunc(printUsage)
	root.SetFlagErrorFunc(usageError)
	for _, part := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Hide and recover", []*cobra.Command{a.embedCommand(), a.recoverCommand(), a.purifyCommand(), a.keysCommand(), a.modelsCommand()}},
		{"Evaluate", []*cobra.Command{a.evaluateCommand(), a.paperCommand(), a.auditCommand(), a.reportCommand(), a.runsCommand(), a.watchCommand(), a.benchCommand()}},
		{"Run a service", []*cobra.Command{a.upCommand(), a.serveCommand(), a.gpuworkerCommand(), a.evaluatorCommand(), a.producerCommand()}},
		{"Look after it", []*cobra.Command{a.doctorCommand(), a.deadCommand(), a.tailCommand(), a.accessCommand(), a.usersCommand(), a.contextCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: part.title, Title: part.title})
		for _, cmd := range part.commands {
			cmd.GroupID = part.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(versionCommand())
	for _, group := range root.Commands() {
		if group.HasSubCommands() && !group.Runnable() {
			group.RunE, group.Annotations = unknownSubcommand, map[string]string{onlyGroup: ""}
		}
	}
	a.complete(root) // first: to find a command gives it the flags of those above it
	addExamples(root)
	tellUse(root)
	root.Version = version
	return root
}

// tellUse has the errors of arguments say how each command is used.
func tellUse(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w (usage: %s)", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		tellUse(sub)
	}
}

// onlyGroup is an annotation of commands that do nothing but hold other commands.
const onlyGroup = "group"

// unknownSubcommand runs a command that only holds others: cobra hands it any word that names none of them.
func unknownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2
	meant := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		meant = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q for %q%s (%s --help)", args[0], cmd.CommandPath(), meant, cmd.CommandPath())
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				p := thisProgram()
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": p.Version, "revision": p.Revision})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "stegomq", version)
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
