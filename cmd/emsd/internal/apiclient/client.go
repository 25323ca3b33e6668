// Package apiclient is a client for the calls that a permit system makes, generated from openapi.yaml. It proves that the
// document is enough to build one; scripts/check.sh sees that it is current.
package apiclient

//go:generate go tool oapi-codegen -config config.yaml ../api/openapi.yaml
