import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const contract = loader.loadSync('blubash/campaigns/v1/campaigns_service.proto', { includeDirs: ['../../proto'] });
const { CampaignsService } = grpc.loadPackageDefinition(contract).blubash.campaigns.v1;

const address = process.argv[2] || '127.0.0.1:50051';
const service = new CampaignsService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set('x-api-key', 'sandbox-key-acme');
const request = { campaignId: 'camp-seeded', pageSize: 3 };
service.ListMessages(request, metadata, { deadline: Date.now() + 5000 }, (error, answer) => {
  if (error) throw error;
  for (const message of answer.messages) console.log(message.messageId, message.upstreamStatus);
  service.close();
});
