// Package codec encodes chunks for the wire and decodes gzip streams.
package codec
