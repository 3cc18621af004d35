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

// logStandard logs as warnings what libraries, such as net/http's client, write through package
// log, so that every line of the log is JSON.
func logStandard(to *zap.Logger) (restore func(), err error) {
	return zap.RedirectStdLogAt(to, zapcore.WarnLevel)
}
