# machines.rb FOLDER PROVIDER…: prints the machines of FOLDER's Vagrantfile as Vagrant itself reads
# them, as JSON: {provider: {primary:, machines: {name: {…}}}}. No provider has to be installed.
require "json"
require "pathname"
require "vagrant"

# In a module: the Vagrantfile's own helpers become methods of every object.
module Machines
  SETTINGS = %w[memory cpus image name cmd has_ssh create_args customizations].freeze

  def self.read(environment, provider)
    vagrantfile = environment.vagrantfile
    machines = vagrantfile.machine_names.to_h do |name|
      # false: do not ask whether the provider can be used here.
      found = vagrantfile.machine_config(name, provider, nil, nil, false)
      complaints = found[:config_errors] + found[:config_warnings]
      abort "#{name} on #{provider}: #{complaints.join("; ")}" unless complaints.empty?
      [name, describe(found[:config], provider, environment.root_path)]
    end
    { primary: vagrantfile.primary_machine_name, machines: machines }
  end

  def self.describe(machine, provider, root)
    {
      hostname: machine.vm.hostname,
      box: machine.vm.box,
      addresses: machine.vm.networks.map { |_kind, options| options[:ip] }.compact,
      folders: shared(machine, root),
      provisioners: machine.vm.provisioners.map { |each| [each.name, each.type, each.config.inline] },
      settings: settings(machine, provider),
      login_key: machine.ssh.private_key_path,
      triggers: machine.trigger.after_triggers.map(&:command)
    }
  end

  # Vagrant compiles a provider's settings into a class of its plugin. Without the plugin (libvirt's
  # is a gem of its own) they are the variables of an object that takes everything.
  def self.settings(machine, provider)
    compiled = machine.vm.get_provider_config(provider)
    found = compiled.instance_variables.to_h do |name|
      [name.to_s.delete_prefix("@"), compiled.instance_variable_get(name)]
    end
    found.slice(*SETTINGS).reject { |_name, value| value == Vagrant::Plugin::V2::Config::UNSET_VALUE }
  end

  def self.shared(machine, root)
    machine.vm.synced_folders.values.reject { |folder| folder[:disabled] }.map do |folder|
      folder.merge(hostpath: Pathname.new(folder[:hostpath]).expand_path(root).to_s)
    end
  end
end

folder, *providers = ARGV
environment = Vagrant::Environment.new(cwd: folder, ui_class: Vagrant::UI::Silent)
puts JSON.generate(providers.to_h { |name| [name, Machines.read(environment, name.to_sym)] })
