// Command operator stands in for the operator, whose build takes longer: it
// prints what the linker was told that it should.
package main

import "os"

var says string

func main() { _, _ = os.Stdout.WriteString(says + "\n") }
