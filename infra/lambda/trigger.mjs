/**
 * Entry point of the trigger function: triggers/lambda.ts, and before it the API key out of Secrets Manager, so that no configuration holds
 * it in plain text. The key is read once per start: after a rotation, deploy or wait for fresh instances.
 */
const secret = process.env.TEMPORAL_API_KEY_SECRET_ARN;
if (secret) {
  // Part of Lambda's Node runtime.
  const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
  const { SecretString } = await new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: secret }));
  if (!SecretString) throw new Error('The secret of TEMPORAL_API_KEY_SECRET_ARN holds no text.');
  process.env.TEMPORAL_API_KEY = SecretString.trim();
}

export const { handler } = await import('../../triggers/lambda.ts');
