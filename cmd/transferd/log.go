package main

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger writes JSON lines; verbose includes every retry.
func newLogger(w io.Writer, verbose bool) *zap.Logger {
	level := zapcore.InfoLevel
	if verbose {
		level = zapcore.DebugLevel
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey, enc.EncodeTime = "time", zapcore.RFC3339TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), level))
}

// logStandard has what libraries write through package log, net/http's client for example, logged
// as warnings: it would be plain text between lines of JSON.
func logStandard(to *zap.Logger) (restore func(), err error) {
	return zap.RedirectStdLogAt(to, zapcore.WarnLevel)
}
