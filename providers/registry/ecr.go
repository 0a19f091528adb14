package registry

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/imagepullsecrets/operator/internal/awsidentity"
	"github.com/imagepullsecrets/operator/providers"
	"github.com/imagepullsecrets/operator/providers/ecr"
)

// The keys of a Secret of type banzaicloud.io/aws-ecr-login-config. The first
// five are IMPS's; its documentation never mentioned roleArn, so people write
// it as AWS does, too.
const (
	keyAccessKeyID  = "accessKeyID"
	keySecretKey    = "secretKey"
	keyRegion       = "region"
	keyAccountID    = "accountID"
	keyRoleARN      = "roleArn"
	keyRoleARNAlias = "roleARN"
	keyUseFIPS      = "useFIPS"
	keyUseDualStack = "useDualStack"
)

var (
	requiredKeys = []string{keyAccessKeyID, keySecretKey, keyRegion, keyAccountID}
	optionalKeys = []string{keyRoleARN, keyRoleARNAlias, keyUseFIPS, keyUseDualStack}
)

// ecrConfig reads a Secret's data. Whether the values make sense is for
// ecr.New to say.
func ecrConfig(data map[string][]byte) (ecr.Config, error) {
	values := make(map[string]string, len(data))
	for key, value := range data {
		values[key] = strings.TrimSpace(string(value))
	}
	if err := checkKeys(values); err != nil {
		return ecr.Config{}, err
	}
	role, err := roleARN(values)
	if err != nil {
		return ecr.Config{}, err
	}
	fips, err := flag(values, keyUseFIPS)
	if err != nil {
		return ecr.Config{}, err
	}
	dualStack, err := flag(values, keyUseDualStack)
	if err != nil {
		return ecr.Config{}, err
	}
	return ecr.Config{
		Identity: awsidentity.Config{
			AccessKeyID:     values[keyAccessKeyID],
			SecretAccessKey: values[keySecretKey],
			RoleARN:         role,
		},
		Region:       values[keyRegion],
		AccountID:    values[keyAccountID],
		UseFIPS:      fips,
		UseDualStack: dualStack,
	}, nil
}

// checkKeys names all missing keys at once, and those that are written in
// another case: ignoring a misspelt role would get logins as somebody else.
func checkKeys(values map[string]string) error {
	var misspelt, missing []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if meant := meantKey(key); meant != "" {
			misspelt = append(misspelt, fmt.Sprintf("key %q must be written %s", key, meant))
		}
	}
	for _, key := range requiredKeys {
		if values[key] == "" {
			missing = append(missing, key)
		}
	}
	problems := misspelt
	if len(missing) > 0 {
		problems = append(problems, "missing or empty: "+strings.Join(missing, ", "))
	}
	if len(problems) == 0 {
		return nil
	}
	return providers.Errorf(providers.Invalid, "%s", strings.Join(problems, "; "))
}

// meantKey returns the known key that differs from key in case only.
func meantKey(key string) string {
	known := slices.Concat(requiredKeys, optionalKeys)
	if slices.Contains(known, key) {
		return ""
	}
	for _, candidate := range known {
		if strings.EqualFold(candidate, key) {
			return candidate
		}
	}
	return ""
}

// roleARN returns the role by either spelling of its key, or "".
func roleARN(values map[string]string) (string, error) {
	role, alias := values[keyRoleARN], values[keyRoleARNAlias]
	if role != "" && alias != "" && role != alias {
		return "", providers.Errorf(providers.Invalid,
			"keys %s and %s are both set and differ; remove one of them", keyRoleARN, keyRoleARNAlias)
	}
	if role == "" {
		return alias, nil
	}
	return role, nil
}

// flag returns the value of an optional key that switches something on.
func flag(values map[string]string, key string) (bool, error) {
	if values[key] == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(values[key])
	if err != nil {
		// The value isn't quoted: it may have come under the wrong key.
		return false, providers.Errorf(providers.Invalid, `key %s must be "true" or "false"`, key)
	}
	return on, nil
}
