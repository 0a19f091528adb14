module github.com/imagepullsecrets/operator/tests

go 1.26.0

require github.com/imagepullsecrets/operator v0.0.0

replace github.com/imagepullsecrets/operator => ../
