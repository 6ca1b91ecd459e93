package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/internal/keyring"
	"stegomq/pipeline"
)

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make, list and import key pairs"}
	f := cmd.PersistentFlags()
	f.StringSliceVar(&a.keyrings, "keyring", nil, "keyring file (default "+pipeline.DefaultKeyring()+")")
	f.StringVar(&a.keyringIdentity, "keyring-identity", "", "age identity file that opens an encrypted keyring (or set "+passphraseEnv+")")

	var passphrase, unmatched bool
	create := &cobra.Command{
		Use: "new ID", Short: "Make a key pair and store it in the keyring", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.newKey(cmd, args[0], passphrase, unmatched) },
	}
	create.Flags().BoolVar(&passphrase, "passphrase", false, "derive the pair from a passphrase (Argon2id) read from standard input: the same on every machine")
	create.Flags().BoolVar(&unmatched, "unmatched", false, "with --passphrase: the pair that versions without X25519 derived, whose halves are unrelated")
	public := &cobra.Command{
		Use: "public ID", Short: "Print a keyring with the half of a key pair that embeds, for those who embed for its owner", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := a.library().PublicKey(args[0])
			if err != nil {
				return err
			}
			return ring.WritePublic(cmd.OutOrStdout())
		},
	}
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
		printPairs(cmd, pairs)
		return nil
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
			return a.change(cmd, fmt.Sprintf("%d key pairs of %s", other.Len(), args[0]), func(ring *keyring.Keyring) error { return ring.Merge(other) })
		},
	}
	cmd.AddCommand(create, list, show, public, load)
	return cmd
}

// change changes the user's keyring, and says what is in it now.
func (a *app) change(cmd *cobra.Command, what string, change func(*keyring.Keyring) error) error {
	path, err := pipeline.ChangeKeyring(a.keyrings, a.protection(), change)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: stored in %s\n", what, path)
	return err
}

func (a *app) newKey(cmd *cobra.Command, id string, fromPassphrase, unmatched bool) error {
	pair, err := makePair(cmd, id, fromPassphrase, unmatched)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, fingerprint %s", id, pair.Fingerprint())
	return a.change(cmd, what, func(ring *keyring.Keyring) error { return pipeline.AddKey(ring, pair) })
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

func printPairs(cmd *cobra.Command, pairs []keyring.Pair) {
	w := newTable(cmd, "key", "fingerprint", "created", "does")
	for _, p := range pairs {
		does := "embeds and recovers"
		if p.Recover.IsZero() {
			does = "embeds"
		}
		w.AppendRow(table.Row{p.ID, p.Fingerprint(), orDash(p.Created.IsZero(), p.Created.Format(time.RFC3339)), does})
	}
	w.Render()
}
