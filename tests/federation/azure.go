package federation

import (
	"fmt"

	"github.com/imagepullsecrets/operator/api/v1alpha1"
	"github.com/imagepullsecrets/operator/tests/fakecloud"
)

// AzureCloud is one of Azure's clouds.
type AzureCloud struct {
	// Name is the source's cloud; empty for none, which means AzurePublic.
	Name v1alpha1.AzureCloud
	// Authority is the host of its directory, such as login.microsoftonline.us;
	// empty for that of AzurePublic.
	Authority string
	// Domain is that of its registries, such as azurecr.us.
	Domain string
}

// ContainerRegistry is a registry of the cloud.
func (c AzureCloud) ContainerRegistry(cloud *fakecloud.Cloud, id Identity, number int) Source {
	tenant, clientID := fmt.Sprintf("00000000-0000-4000-8000-%012d", number), fmt.Sprintf("11111111-0000-4000-8000-%012d", number)
	registry := fmt.Sprintf("example%d.%s", number, c.Domain)
	cloud.AddAzureApplication(fakecloud.AzureApplication{
		Authority: c.Authority, TenantID: tenant, ClientID: clientID, Issuer: id.Issuer, Subject: id.Subject(),
	})
	cloud.GrantACR(registry, clientID)
	return Source{
		Name: "Azure Container Registry",
		Entry: v1alpha1.CredentialSource{AzureContainerRegistry: &v1alpha1.AzureContainerRegistrySource{
			Registry: v1alpha1.RegistryHost(registry), TenantID: tenant, ClientID: clientID, ServiceAccount: id.Reference(), Cloud: c.Name,
		}},
		Registry: registry, Service: fakecloud.AzureAD,
	}
}

// AzureContainerRegistry is [AzureCloud.ContainerRegistry] of the public cloud.
func AzureContainerRegistry(cloud *fakecloud.Cloud, id Identity, number int) Source {
	return AzureCloud{Domain: "azurecr.io"}.ContainerRegistry(cloud, id, number)
}
