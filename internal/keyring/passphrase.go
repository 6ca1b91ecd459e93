package keyring

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ReadPassphrase asks for a passphrase on a terminal, twice and unseen, with prompts on another stream, and reads one line from anything else.
func ReadPassphrase(in io.Reader, prompts io.Writer) ([]byte, error) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && line == "" {
			return nil, fmt.Errorf("read the passphrase: %w", err)
		}
		return []byte(strings.TrimRight(line, "\r\n")), nil
	}
	ask := func(prompt string) ([]byte, error) {
		_, _ = fmt.Fprint(prompts, prompt)
		secret, err := term.ReadPassword(int(f.Fd()))
		_, _ = fmt.Fprintln(prompts)
		return secret, err
	}
	first, err := ask("passphrase: ")
	if err != nil {
		return nil, err
	}
	second, err := ask("again: ")
	if err != nil {
		return nil, err
	}
	if string(first) != string(second) {
		return nil, errors.New("the two passphrases differ")
	}
	return first, nil
}
