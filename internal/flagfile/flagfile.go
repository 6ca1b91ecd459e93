// Package flagfile owns how a command's flags that were not given get values: from the environment, or else from a configuration file.
package flagfile

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Fill sets the flags of a command that were not given: from the environment, or else from the values of the file at path. With the prefix STEGOMQ_ the
// variable of --ort-lib is STEGOMQ_ORT_LIB. The error names everything that is wrong, also values for flags that no command has.
func Fill(cmd *cobra.Command, prefix, path string, values map[string]string) error {
	var broken []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "version" {
			return
		}
		env := Variable(prefix, f.Name)
		value, from := os.Getenv(env), env
		if value == "" {
			value, from = values[f.Name], path
		}
		if value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			broken = append(broken, fmt.Errorf("%s: %s: %w", from, f.Name, err))
		}
	})
	known := knownFlags(cmd.Root())
	for name := range values {
		if !slices.Contains(known, name) {
			broken = append(broken, fmt.Errorf("%s: no command has a flag %q", path, name))
		}
	}
	return errors.Join(broken...)
}

// Variable is the environment variable of a flag.
func Variable(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Read reads a YAML file of flag names and values. Lists become comma-separated, and a name without a value gives "", which Fill does not set.
func Read(path string) (map[string]string, error) {
	values := make(map[string]string)
	if path == "" {
		return values, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	for name, v := range raw {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		var words []string
		for _, one := range list {
			switch one.(type) {
			case nil: // there is nothing behind the name
			case []any, map[string]any:
				return nil, fmt.Errorf("read the configuration %s: %s must be a value or a list of values", path, name)
			default:
				words = append(words, fmt.Sprint(one))
			}
		}
		values[name] = strings.Join(words, ",")
	}
	return values, nil
}

// knownFlags names the flags of all commands, since one file may serve several.
func knownFlags(root *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(add)
		c.PersistentFlags().VisitAll(add)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return names
}
