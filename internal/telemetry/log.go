package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

var (
	// ErrLevel: the word is no log level.
	ErrLevel = errors.New("unknown log level")
	// ErrFormat: the word is no log format.
	ErrFormat = errors.New("unknown log format")
)

// Log formats.
const (
	// FormatAuto is a format for people on a terminal, and FormatText elsewhere.
	FormatAuto = "auto"
	// FormatText is key=value.
	FormatText = "text"
	// FormatJSON is one object per line.
	FormatJSON = "json"
)

// NewLogger returns a logger that writes to w. level is debug, info, warn or error, in any case and
// optionally with an offset (info+2), info when empty; format is one of the constants, auto when empty.
// The errors are ErrLevel and ErrFormat and list the valid words.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if level != "" {
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("%w %q: choose debug, info, warn or error", ErrLevel, level)
		}
	}
	switch strings.ToLower(format) {
	case "", FormatAuto:
		if isTerminal(w) {
			return slog.New(terminalHandler(w, l, os.Getenv("NO_COLOR") != "")), nil
		}
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
	case FormatText:
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
	case FormatJSON:
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
	}
	return nil, fmt.Errorf("%w %q: choose auto, text or json", ErrFormat, format)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func terminalHandler(w io.Writer, level slog.Level, plain bool) slog.Handler {
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: plain})
}
