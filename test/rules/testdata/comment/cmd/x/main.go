// Command x does it.
package main
