package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/keyring"
	"stegomq/pipeline"
)

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make, list, import, export and delete key pairs"}
	group(groupModels, cmd.PersistentFlags(), func(f *pflag.FlagSet) {
		f.StringSliceVar(&a.keyrings, "keyring", nil, "keyring file (default "+pipeline.DefaultKeyring()+")")
		f.StringVar(&a.keyringIdentity, "keyring-identity", "", "age identity file that opens an encrypted keyring (or set "+passphraseEnv+")")
	})

	var passphrase, unmatched bool
	create := &cobra.Command{
		Use: "new ID", Short: "Make a key pair and store it in the keyring", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.newKey(cmd, args[0], passphrase, unmatched) },
	}
	create.Flags().BoolVar(&passphrase, "passphrase", false, "derive the pair from a passphrase (Argon2id) read from standard input: the same on every machine")
	create.Flags().BoolVar(&unmatched, "unmatched", false, "with --passphrase: derive the pair as versions without X25519 did, with unrelated halves")
	public := &cobra.Command{
		Use: "public ID", Short: "Print a keyring with the embedding half of a key pair, for others who embed for its owner", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := a.library().PublicKey(args[0])
			if err != nil {
				return err
			}
			return ring.WritePublic(cmd.OutOrStdout())
		},
	}
	var asJSON bool
	shown := func(cmd *cobra.Command, args []string) error {
		ring, err := a.library().Keys()
		if err != nil {
			return err
		}
		pairs := ring.List()
		if len(args) == 1 {
			pair, err := ring.Get(args[0])
			if err != nil {
				return err
			}
			pairs = []keyring.Pair{pair}
		}
		return printPairs(cmd, pairs, asJSON)
	}
	list := &cobra.Command{Use: "list", Short: "List the key pairs of the keyring", Args: cobra.NoArgs, RunE: shown}
	show := &cobra.Command{Use: "show ID", Short: "Show a key pair's fingerprint and date, never the key", Args: cobra.ExactArgs(1), RunE: shown}
	load := &cobra.Command{
		Use: "import FILE", Short: "Add the key pairs of another keyring file", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			other, err := keyring.Open(args[0], a.protection())
			if err != nil {
				return err
			}
			return a.change(cmd, fmt.Sprintf("%d key pairs of %s: stored in", other.Len(), args[0]), func(ring *keyring.Keyring) error { return ring.Merge(other) })
		},
	}
	jsonFlag(list, &asJSON)
	jsonFlag(show, &asJSON)
	cmd.AddCommand(create, list, show, public, load, a.exportKeysCommand(), a.deleteKeysCommand())
	return cmd
}

func (a *app) exportKeysCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export ID... -o FILE", Short: "Copy whole key pairs into a keyring file of their own, for a backup or another machine", Args: cobra.MinimumNArgs(1),
		Long: `Copies key pairs, both halves, into a new keyring file of mode 0600, which keys import reads. The file is encrypted as the keyring is: with the
passphrase in ` + passphraseEnv + `, or for the identity of --keyring-identity. Whoever has the file can read what was hidden for these keys; for
others who only embed there is keys public.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := a.library().Keys()
			if err != nil {
				return err
			}
			if err := pipeline.ExportKeys(ring, args, out, a.protection()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d key pairs: stored in %s\n", len(args), out)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file to make (required)")
	must(cmd.MarkFlagRequired("output"))
	return cmd
}

func (a *app) deleteKeysCommand() *cobra.Command {
	var sure bool
	cmd := &cobra.Command{
		Use: "delete ID... --yes", Short: "Delete key pairs from the keyring; nobody can read what was hidden for them again", Args: cobra.MinimumNArgs(1),
		Long: `Deletes key pairs from the keyring file. Workers and services that use the file refuse the keys from the next job on. What was hidden
for them can never be read again, unless there is a copy (keys export).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !sure {
				return errors.New("what was hidden for these keys can never be read again: copy them first (stegomq keys export ID -o FILE), and then give --yes")
			}
			return a.change(cmd, strings.Join(args, ", ")+": deleted from", func(ring *keyring.Keyring) error {
				for _, id := range args {
					if err := ring.Remove(id); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&sure, "yes", false, "delete them")
	return cmd
}

// change changes the user's keyring, and prints what was done, followed by the keyring's path.
func (a *app) change(cmd *cobra.Command, done string, change func(*keyring.Keyring) error) error {
	path, err := pipeline.ChangeKeyring(a.keyrings, a.protection(), change)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", done, path)
	return err
}

func (a *app) newKey(cmd *cobra.Command, id string, fromPassphrase, unmatched bool) error {
	pair, err := makePair(cmd, id, fromPassphrase, unmatched)
	if err != nil {
		return err
	}
	done := fmt.Sprintf("%s, fingerprint %s: stored in", id, pair.Fingerprint())
	return a.change(cmd, done, func(ring *keyring.Keyring) error { return pipeline.AddKey(ring, pair) })
}

func makePair(cmd *cobra.Command, id string, fromPassphrase, unmatched bool) (keyring.Pair, error) {
	now := time.Now().UTC().Truncate(time.Second)
	switch {
	case !fromPassphrase && unmatched:
		return keyring.Pair{}, errors.New("--unmatched makes a pair of a passphrase again: give --passphrase too")
	case !fromPassphrase:
		return keyring.Generate(id, now)
	}
	secret, err := keyring.ReadPassphrase(cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return keyring.Pair{}, err
	}
	if unmatched {
		return keyring.DeriveUnmatched(id, secret, now)
	}
	return keyring.Derive(id, secret, now)
}

// keyRow is a key pair in a list: never its bytes.
type keyRow struct {
	ID          string    `json:"id"`
	Fingerprint string    `json:"fingerprint"`
	Created     time.Time `json:"created,omitzero"`
	Does        []string  `json:"does"`
}

func printPairs(cmd *cobra.Command, pairs []keyring.Pair, asJSON bool) error {
	rows := []keyRow{}
	for _, p := range pairs {
		row := keyRow{p.ID, p.Fingerprint(), p.Created, []string{"embed", "recover"}}
		if p.Recover.IsZero() {
			row.Does = row.Does[:1]
		}
		rows = append(rows, row)
	}
	return printRows(cmd, rows, asJSON, func(r keyRow) table.Row {
		does := map[int]string{1: "embeds", 2: "embeds and recovers"}[len(r.Does)]
		return table.Row{r.ID, r.Fingerprint, orDash(r.Created.IsZero(), r.Created.Format(time.RFC3339)), does}
	}, "key", "fingerprint", "created", "does")
}
