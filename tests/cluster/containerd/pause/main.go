// Command pause does nothing until it is told to end. It holds the namespaces
// of each Pod, and is the program of images that tests pull.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	<-ended
}
